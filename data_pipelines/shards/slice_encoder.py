"""One process's clips to shards, whatever happens to single ones."""

import functools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from actavatar_jax.errors import first_line, out_of_space
from data_pipelines.shards.buckets import (
    MOST_ENLARGED,
    Bucket,
    Ladder,
    choose_bucket,
    measure_enlargement,
    nearest_bucket,
)
from data_pipelines.shards.clip_encoder import ClipEncoder, sound_delay
from data_pipelines.shards.slices import ClipOutcome
from data_pipelines.shards.staging import Packing, Staging
from data_pipelines.shards.written import DatasetEntry
from data_pipelines.table import (
    CRASHED,
    GIVEN_UP,
    UNEXPECTED,
    Clip,
    Journal,
    Skip,
    count_begun,
    digest,
    list_journals,
    stop_at_many,
)


def encode_slice(
    clips: Iterable[Clip], encoder: ClipEncoder, staging: Staging, sizes: Ladder, begun: Path
) -> list[ClipOutcome]:
    """Has the records of all clips in shards; what became of each. `begun`: a folder in which runs say what they begin.

    Raises InputError where more than 1 % of the clips fail for no known reason.
    """
    begun.mkdir(parents=True, exist_ok=True)
    before, journal, packing = count_begun(list_journals(begun)), Journal.begin(begun), Packing(staging)
    done: list[ClipOutcome] = []

    def failures() -> Iterator[str | None]:
        for clip in clips:
            if before[clip.id] >= GIVEN_UP:
                done.append(ClipOutcome(clip.id, "skipped", CRASHED, f"{GIVEN_UP} runs ended while it was encoded"))
            else:
                done.append(_encoded(clip, encoder, staging, sizes, journal))
            outcome = done[-1]
            if outcome.bucket is not None:
                packing.add(outcome.bucket, DatasetEntry(clip.id, outcome.key, outcome.enlargement))
            yield f"{clip.id}: {outcome.detail}" if outcome.reason in (CRASHED, UNEXPECTED) else None

    for _ in stop_at_many("encode", failures()):
        pass
    packing.end()
    return done


def _encoded(clip: Clip, encoder: ClipEncoder, staging: Staging, sizes: Ladder, journal: Journal) -> ClipOutcome:
    """Has the records of a clip staged; says what became of it."""
    try:
        bucket, enlargement = _bucket(clip, sizes)
        delay = sound_delay(clip)
        about = [json.dumps(staging.settings, sort_keys=True), *([f"sound {delay} frames late"] if delay else [])]
        about += [f"window {start}" for start in encoder.starts(clip) if start % encoder.stride]
        entry = DatasetEntry(clip.id, digest(*encoder.files(clip), *about), enlargement)
        made = staging.ensure_records(bucket, entry, functools.partial(_begin, clip, bucket, encoder, journal))
    except Skip as skip:
        return ClipOutcome(clip.id, "skipped", skip.reason, skip.detail)
    except Exception as error:
        if out_of_space(error):
            raise
        reason = "unreadable" if isinstance(error, OSError) else UNEXPECTED
        return ClipOutcome(clip.id, "skipped", reason, first_line(error))
    finally:
        journal.add(clip.id, {})
    return ClipOutcome(clip.id, "made" if made else "kept", bucket=bucket, key=entry.key, enlargement=enlargement)


def _bucket(clip: Clip, sizes: Ladder) -> tuple[Bucket, float]:
    """The bucket of a clip, and by how much it enlarges it. Raises Skip where the clip is too small for all of them."""
    size = clip.facts["prepare.height"], clip.facts["prepare.width"]
    bucket = choose_bucket(*size, sizes)
    if bucket is None:
        least = min((nearest_bucket(*size, area) for area in sizes), key=lambda one: measure_enlargement(*size, one))
        raise Skip(
            "too small",
            f"{size[0]}x{size[1]} pixels would be enlarged {measure_enlargement(*size, least):.2f} times for "
            f"{least.height}x{least.width}, and at most {MOST_ENLARGED} are accepted; see `--buckets`",
        )
    return bucket, measure_enlargement(*size, bucket)


def _begin(clip: Clip, bucket: Bucket, encoder: ClipEncoder, journal: Journal) -> Iterator[bytes]:
    journal.add(clip.id)
    return encoder.encode(clip, bucket)
