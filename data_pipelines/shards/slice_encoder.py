"""One process's clips to shards, whatever happens to single ones."""

import contextlib
import functools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from actavatar_jax.errors import StoreError, first_line, out_of_space
from actavatar_jax.storage import Place
from data_pipelines.shards.ahead import Ahead
from data_pipelines.shards.buckets import (
    MOST_ENLARGED,
    Bucket,
    Ladder,
    choose_bucket,
    measure_enlargement,
    nearest_bucket,
)
from data_pipelines.shards.clip_encoder import ClipEncoder, Window, sound_delay
from data_pipelines.shards.slices import ClipOutcome
from data_pipelines.shards.staging import Packing, Staging
from data_pipelines.shards.written import DatasetEntry
from data_pipelines.table import (
    CRASHED,
    GIVEN_UP,
    PUT_UP,
    STORE_FAILED,
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
    clips: Iterable[Clip], encoder: ClipEncoder, staging: Staging, sizes: Ladder, begun: Place
) -> list[ClipOutcome]:
    """Has the records of all clips in shards; what became of each. `begun`: a folder in which runs say what they begin.

    Raises InputError where more than 1 % of the clips fail for no known reason.
    """
    begun.mkdir(parents=True, exist_ok=True)
    before, journal, packing = count_begun(list_journals(begun)), Journal.begin(begun), Packing(staging)
    done: list[ClipOutcome] = []

    def failures() -> Iterator[str | None]:
        begin = functools.partial(_begin, encoder, staging, sizes, journal)
        with contextlib.closing(_begun(clips, before, begin)) as jobs:
            for job in jobs:
                outcome = job if isinstance(job, ClipOutcome) else _encoded(job, encoder, staging)
                done.append(outcome)
                if outcome.bucket is not None:
                    packing.add(outcome.bucket, DatasetEntry(outcome.clip, outcome.key, outcome.enlargement))
                journal.put_up(PUT_UP)
                failed = outcome.reason in (CRASHED, STORE_FAILED, UNEXPECTED)
                yield f"{outcome.clip}: {outcome.detail}" if failed else None

    try:
        for _ in stop_at_many("encode", failures()):
            pass
    finally:
        journal.put_up()
    packing.end()
    return done


@dataclass(frozen=True, eq=False)
class _Job:
    """A clip that is to be encoded, and is being read."""

    clip: Clip
    bucket: Bucket
    entry: DatasetEntry
    windows: Ahead[Window]
    journal: Journal

    def close(self) -> None:
        """What ends a run from now on is not this clip's fault."""
        self.windows.close()
        self.journal.add(self.clip.id, {})


def _begun(
    clips: Iterable[Clip], before: Mapping[str, int], begin: Callable[[Clip], _Job | ClipOutcome]
) -> Iterator[_Job | ClipOutcome]:
    """What is begun of the clips, in order; while one is encoded, the next one is being read.

    A clip that a killed run had begun (`before`) is alone: whether it was to blame, or the one beside it, shows so.
    """
    jobs: deque[_Job | ClipOutcome] = deque()
    try:
        alone = False
        for clip in clips:
            if alone or before.get(clip.id):
                while jobs:
                    yield jobs.popleft()
            alone = bool(before.get(clip.id))
            if before.get(clip.id, 0) >= GIVEN_UP:
                jobs.append(ClipOutcome(clip.id, "skipped", CRASHED, f"{GIVEN_UP} runs ended while it was encoded"))
            else:
                jobs.append(begin(clip))
            if len(jobs) > 1:
                yield jobs.popleft()
        while jobs:
            yield jobs.popleft()
    finally:
        for job in jobs:
            if isinstance(job, _Job):
                job.close()


def _begin(encoder: ClipEncoder, staging: Staging, sizes: Ladder, journal: Journal, clip: Clip) -> _Job | ClipOutcome:
    """Begins to read a clip, if it is not encoded yet and can be."""
    try:
        bucket, enlargement = _bucket(clip, sizes)
        delay = sound_delay(clip)
        about = [json.dumps(staging.settings, sort_keys=True), *([f"sound {delay} frames late"] if delay else [])]
        about += [f"window {start}" for start in encoder.starts(clip) if start % encoder.stride]
        entry = DatasetEntry(clip.id, digest(*encoder.files(clip), *about), enlargement)
        if not staging.has_records(bucket, entry):
            journal.add(clip.id)
            return _Job(clip, bucket, entry, Ahead(encoder.read(clip, bucket)), journal)
        outcome = ClipOutcome(clip.id, "kept", bucket=bucket, key=entry.key, enlargement=enlargement)
    except Exception as error:  # noqa: BLE001  (it is a row, or raised again)
        outcome = _failed(clip, error)
    journal.add(clip.id, {})
    return outcome


def _encoded(job: _Job, encoder: ClipEncoder, staging: Staging) -> ClipOutcome:
    """Has the records of a clip staged; says what became of it."""
    start = time.perf_counter()
    try:
        staging.add_records(job.bucket, job.entry, encoder.encode(job.clip, job.windows))
    except Exception as error:  # noqa: BLE001  (it is a row, or raised again)
        return _failed(job.clip, error)
    finally:
        job.close()
    waited, all_of_it = job.windows.waited, time.perf_counter() - start
    seconds = {"reading": job.windows.busy, "encoding": all_of_it - waited, "waiting": waited}
    clip, key, enlargement = job.entry.clip, job.entry.key, job.entry.enlargement
    return ClipOutcome(clip, "made", bucket=job.bucket, key=key, enlargement=enlargement, seconds=seconds)


def _failed(clip: Clip, error: Exception) -> ClipOutcome:
    """The row of a clip that cannot be encoded; raises the error where that is no clip's fault."""
    if isinstance(error, Skip):
        return ClipOutcome(clip.id, "skipped", error.reason, error.detail)
    if out_of_space(error):
        raise error
    reasons = ((StoreError, STORE_FAILED), (OSError, "unreadable"), (Exception, UNEXPECTED))
    reason = next(reason for kind, reason in reasons if isinstance(error, kind))
    return ClipOutcome(clip.id, "skipped", reason, first_line(error))


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
