"""From clips to encoded shards: windows of fixed length through the frozen encoders, each clip once.

Several processes may share the work: each encodes its slice of the clips and writes shards of its own, and the one
that ends last makes datasets of all of them (`commit_shards`). A finished clip lies in `shard_dir/.staged` until its
shard is full; a killed run goes on from there, and ends with the same bytes. Shards are written once: clips that come
later get shards of their own, and only those that hold a clip that has changed, or is gone, are written again.
"""

import functools
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import jax
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.storage import Place, locked_folder, mend_folder, open_place
from data_pipelines.shards.buckets import DEFAULT_SIZES, MOST_ENLARGED, Bucket, Ladder, parse_buckets
from data_pipelines.shards.clip_encoder import ClipEncoder, sound_delay
from data_pipelines.shards.records import FrozenEncoders, describe_records
from data_pipelines.shards.schema import EmptyPrompt
from data_pipelines.shards.slice_encoder import encode_slice
from data_pipelines.shards.slices import ClipOutcome, EncodingRun
from data_pipelines.shards.store_staging import has_datasets, open_staging
from data_pipelines.shards.written import DatasetEntry
from data_pipelines.table import (
    Clip,
    StepReport,
    caption_is_lost,
    check_process,
    digest,
    read_manifest,
)

HELD_BACK = ("test", "val", "validation")  # splits that nothing is trained on

log = logging.getLogger(__name__)


def encode_clips(
    clip_dir: str | Place,
    shard_dir: str | Place,
    encoders: FrozenEncoders,
    *,
    stage: int | None = None,
    process: tuple[int, int] | None = None,
    frames: int = 125,
    buckets: str = DEFAULT_SIZES,
    stride_frames: int | None = None,
    records_per_shard: int = 128,
    anchors: bool = True,
    split: str | None = None,
    progress: bool = True,
) -> StepReport:
    """Makes one dataset per bucket, `shard_dir/<height>x<width>x<frames>`, of the clips of a finished `prepare`.

    Every clip is cut into windows of `frames` (4k + 1) frames that start every `stride_frames` (default: end to end).
    A window is cut before it is encoded, picture, speech and prompt alike: latents of a causal autoencoder and jointly
    encoded text cannot be cut afterwards. The prompt is re-timed by `StructuredPrompt.window`.
    Sound that `filter sync` found to come late or early is moved back first.
    `buckets` lists the allowed sizes, HEIGHTxWIDTH of one area separated by commas, areas by slashes. A clip goes to
    the nearest shape of the largest area that enlarges it at most 1.1 times, and is left out where there is none.
    `stage`: only the clips that `select` chose for it. Texts of stage 1 are what came with the clips; those of stage 2
    and without a stage are what `annotate` saw in them, and else what came with them. Stage 2 leaves out clips without
    actions.
    `split`: only the clips of this split of their corpus; None: all but those that are held back for tests.
    `anchors`: texts have labels and anchors, as models read them whose `phase_time` has `paper`, or else are bare.

    The datasets hold exactly these clips: unchanged clips are not encoded again, clips that are gone leave.
    `process` (i, n) encodes slice i = 0..n-1 of n only; default: this process's of a distributed JAX job, else all.
    The one that ends last commits all slices. A clip that fails for no known reason is a row of the report, as is one
    that three runs began and did not come to the end of; where more than 1 % fail, it is an InputError.

    Returns the report of the slice, or of all clips where they were committed, then also written to
    `shard_dir/report.json`. Raises InputError where `shard_dir` holds records made with other encoders or settings,
    where another command changes it, and where captions were lost to an earlier `annotate`.
    """
    clip_dir, shard_dir = open_place(clip_dir), open_place(shard_dir)
    index, count = check_process(_process() if process is None else process)
    sizes = parse_buckets(buckets, frames)
    settings = _settings(encoders, sizes, stride_frames or frames, records_per_shard, stage, anchors, split)
    clips, held_back = _clips(clip_dir, stage, split)
    encoder = ClipEncoder(clip_dir, encoders, settings)
    run = EncodingRun(shard_dir, _name_clips(clips), settings, count)
    shard_dir.mkdir(parents=True, exist_ok=True)
    with locked_folder(shard_dir, shared=count > 1):
        if index == 0:
            mend_folder(shard_dir)
        staging = open_staging(shard_dir, settings, {clip.id for clip in clips})
        run.begin_slice(index)
        mine = tqdm(clips[index::count], "encode", unit="clip", disable=not progress)
        done = encode_slice(mine, encoder, staging, sizes, shard_dir / ".staged" / f"begun-{index}-of-{count}")
        done += [ClipOutcome(clip.id, "held back", clip.split or "") for clip in held_back[index::count]]
        run.save_slice(index, done, encoder.make_record.encode_empty_prompt().to_dict())
        if count == 1:
            return _commit(clip_dir, shard_dir)
    if run.is_complete():
        with locked_folder(shard_dir, wait=True):  # slices that have just ended are about to let it go
            if run.is_complete():  # no other one was faster
                try:
                    return _commit(clip_dir, shard_dir)
                except InputError:  # on a store another machine may have been, meanwhile
                    if run.is_complete():
                        raise
    return _report(f"slice {index}/{count} of {clip_dir}", done)


def commit_shards(clip_dir: str | Place, shard_dir: str | Place) -> StepReport:
    """Makes the datasets of the shards that all slices have written.

    Slices commit themselves as the last one ends; this is for those whose last one was killed on the way. Returns the
    report of all clips, an empty one where all is committed already. Raises InputError where slices are missing, or the
    clips are not those that they were made of.
    """
    clip_dir, shard_dir = open_place(clip_dir), open_place(shard_dir)
    if not shard_dir.is_dir():
        raise InputError(
            f"{shard_dir}: nothing to commit, as there is no such folder; run `encode` for every slice first"
        )
    with locked_folder(shard_dir):
        if not (shard_dir / ".staged").exists() and has_datasets(shard_dir):
            return StepReport(f"all slices are committed in {shard_dir}")
        return _commit(clip_dir, shard_dir)


def _commit(clip_dir: Place, shard_dir: Place) -> StepReport:
    run, done, empty_prompt = EncodingRun.load(shard_dir, functools.partial(_name_clips_of, clip_dir))
    mend_folder(shard_dir)
    staging = open_staging(shard_dir, run.settings, {clip.clip for clip in done})
    contents: dict[Bucket, list[DatasetEntry]] = defaultdict(list)
    for clip in done:
        if clip.bucket is not None:
            contents[clip.bucket].append(DatasetEntry(clip.clip, clip.key, clip.enlargement))
    for bucket in sorted(contents):
        staging.commit_bucket(bucket, contents[bucket], EmptyPrompt.from_dict(empty_prompt))
    staging.clean_up(keep=contents)
    report = _report(f"encoded {clip_dir} -> {shard_dir}", done)
    report.save(shard_dir / "report.json")
    return report


@dataclass
class EncodingReport(StepReport):
    """It says what a clip took, too. `seconds`: means of `ClipOutcome.seconds` over the clips that were encoded."""

    seconds: dict[str, float] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        return super().summary() | ({"seconds": self.seconds} if self.seconds else {})

    def __str__(self) -> str:
        if not self.seconds:
            return super().__str__()
        read, encode, wait = (self.seconds[name] for name in ("reading", "encoding", "waiting"))
        took = f"{read:.2f} s to read, {encode:.2f} s to encode, {wait:.2f} s waited for what was being read"
        return f"{super().__str__()}\na clip: {took}"


def _report(title: str, done: list[ClipOutcome]) -> EncodingReport:
    report = EncodingReport(title)
    made = [clip.seconds for clip in done if clip.seconds]
    if made:
        report.seconds = {name: round(sum(one[name] for one in made) / len(made), 3) for name in made[0]}
    for clip in done:
        report.add(clip.clip, clip.status, clip.reason, clip.detail)
    enlarged = sum((clip.enlargement or 0) > 1 for clip in done)
    if enlarged:
        report.notes[f"of these enlarged, at most {MOST_ENLARGED} times"] = enlarged
    return report


def _process() -> tuple[int, int]:
    return (jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else (0, 1)


def _name_clips_of(clip_dir: Place, settings: dict[str, Any]) -> str:
    return _name_clips(_clips(clip_dir, settings["stage"], settings.get("split"))[0])


def _name_clips(clips: Iterable[Clip]) -> str:
    """Names the clips, and what encoding uses of their facts."""
    facts = ("prepare.height", "prepare.width", "prepare.digest")
    return digest(*(f"{clip.id} {[clip.facts.get(name) for name in facts]} {sound_delay(clip)}" for clip in clips))


def _clips(clip_dir: Place, stage: int | None, split: str | None) -> tuple[list[Clip], list[Clip]]:
    """The prepared clips of the split, or of these the stage's, by id; and without a split those that are held back."""
    table = read_manifest(clip_dir)
    column = f"stage{stage}"
    if "prepare.height" not in table.names:
        raise InputError(f"{clip_dir}: the manifest has no usable clip; see {clip_dir / 'report.json'}")
    if stage is not None and column not in table.names:
        raise InputError(f"{clip_dir}: nothing is selected for stage {stage}; run `select --stage {stage}` first")
    prepared = [clip for clip in table if not clip.facts["prepare.error"]]
    clips = [clip for clip in prepared if stage is None or clip.facts[column]]
    if not clips:
        file = "report.json" if stage is None else f"{column}.json"
        raise InputError(f"{clip_dir}: the manifest has no usable clip; see {clip_dir / file}")
    chosen = [clip for clip in clips if (clip.split not in HELD_BACK if split is None else clip.split == split)]
    if not chosen:
        found = ", ".join(sorted({clip.split or "none" for clip in clips}))
        asked = "only clips that are held back for tests; ask for their split" if split is None else f"none of {split}"
        raise InputError(f"{clip_dir}: of its clips' splits ({found}) there are {asked}.")
    _check_captions(chosen, clip_dir)
    return chosen, [clip for clip in clips if split is None and clip.split in HELD_BACK]


def _check_captions(clips: list[Clip], clip_dir: Place) -> None:
    lost = [clip.id for clip in clips if caption_is_lost(clip, clip_dir)]
    if lost:
        raise InputError(
            f"{clip_dir}: an earlier `annotate` wrote over the captions of {len(lost):,} clips, {lost[0]} among them; "
            "run `annotate` again, which puts them back and asks nothing twice."
        )


def _settings(
    encoders: FrozenEncoders,
    ladder: Ladder,
    stride_frames: int,
    records_per_shard: int,
    stage: int | None,
    anchors: bool,
    split: str | None,
) -> dict[str, Any]:
    """What all records of a shard folder share."""
    if stride_frames < 1 or records_per_shard < 1:
        raise InputError("stride_frames and records_per_shard must be at least 1")
    areas = [[[bucket.height, bucket.width] for bucket in area] for area in ladder]
    return describe_records(encoders, ladder[0][0].frames, anchors) | {
        "sample_rate": SAMPLE_RATE,
        "buckets": areas[0] if len(areas) == 1 else areas,  # as in folders from before there were several
        "stride_frames": stride_frames,
        "records_per_shard": records_per_shard,
        "stage": stage,
        **({} if split is None else {"split": split}),  # folders from before there were splits go on
    }
