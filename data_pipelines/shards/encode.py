"""From clips to encoded shards: windows of fixed length through the frozen encoders, each clip once.

Several processes may share the work: each encodes its slice of the clips, then one `commit` writes the shards. A
finished clip lies in `shard_dir/.staged` until then; a killed run goes on from there. Shards are a function of the clip
folder, the encoders and the settings only, so a run that was killed and repeated, or shared, ends with the same bytes.
"""

import functools
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio, fit_audio
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.media.video import probe, read_frames
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage.writing import mend_folder
from data_pipelines.shards import dataset as shards
from data_pipelines.shards import records
from data_pipelines.shards.buckets import DEFAULT_SIZES, Bucket, choose_bucket, parse_buckets
from data_pipelines.shards.records import FrozenEncoders, RecordMaker
from data_pipelines.shards.slices import Done, Run
from data_pipelines.shards.staging import Entry, Staging
from data_pipelines.table import Clip, read_manifest
from data_pipelines.table.files import digest
from data_pipelines.table.report import Report, Skip
from data_pipelines.table.steps import clip_path

BRIEF_PROMPT = StructuredPrompt("A person speaking")  # for clips that nobody described


def encode(
    clip_dir: str | Path,
    shard_dir: str | Path,
    encoders: FrozenEncoders,
    *,
    stage: int | None = None,
    process: tuple[int, int] | None = None,
    frames: int = 125,
    buckets: str = DEFAULT_SIZES,
    stride_frames: int | None = None,
    records_per_shard: int = 128,
    progress: bool = True,
) -> Report:
    """Makes one dataset per bucket, `shard_dir/<height>x<width>x<frames>`, of the clips of a finished `prepare`.

    Every clip is cut into windows of `frames` (4k + 1) frames that start every `stride_frames` (default: end to end).
    A window is cut before it is encoded, picture, speech and prompt alike: latents of a causal autoencoder and jointly
    encoded text cannot be cut afterwards. The prompt is re-timed by `StructuredPrompt.window`.
    `buckets` lists the allowed sizes, HEIGHTxWIDTH separated by commas; a clip goes to the nearest aspect ratio.
    `stage`: only the clips that `select` chose for it; those of stage 2 must have a prompt with actions.

    The datasets hold exactly these clips: unchanged clips are not encoded again, clips that are gone leave.
    `process` (i, n) encodes slice i = 0..n-1 of n only; default: this process's of a distributed JAX job, else all.
    With more than one slice, `commit` has to be called when all have ended.

    Returns the report, of all clips also written to `shard_dir/report.json`. Raises InputError where `shard_dir` holds
    records made with other encoders or settings.
    """
    clip_dir, shard_dir = Path(clip_dir), Path(shard_dir)
    index, count = _process() if process is None else process
    if not 0 <= index < count:
        raise InputError(f"process {index}/{count}: accepted are 0/{count} to {count - 1}/{count}")
    table = parse_buckets(buckets, frames)
    settings = _settings(encoders, table, stride_frames or frames, records_per_shard, stage)
    clips = _clips(clip_dir, stage)
    run = Run(shard_dir, _manifest(clip_dir), settings, count)
    if index == 0:
        mend_folder(shard_dir)
    staging = Staging(shard_dir, settings, {clip.id for clip in clips})
    run.begin(index)

    worker = _Encoder(clip_dir, encoders, settings)
    done = []
    for clip in tqdm(clips[index::count], "encode", unit="clip", disable=not progress):
        bucket = choose_bucket(clip.facts["prepare.height"], clip.facts["prepare.width"], table)
        entry = Entry(clip.id, digest(*worker.files(clip), json.dumps(settings, sort_keys=True)))
        try:
            made = staging.ensure(bucket, entry, functools.partial(worker.records, clip, bucket))
            done.append(Done(clip.id, "made" if made else "kept", bucket=bucket, key=entry.key))
        except Skip as skip:
            done.append(Done(clip.id, "skipped", skip.reason, skip.detail))
    run.save(index, done, worker.make_record.empty_prompt().to_dict())
    return commit(clip_dir, shard_dir) if count == 1 else _report(f"slice {index}/{count} of {clip_dir}", done)


def commit(clip_dir: str | Path, shard_dir: str | Path) -> Report:
    """Writes the datasets of what all slices have encoded, and removes the staged files.

    Returns the report of all clips. Raises InputError where slices are missing, or the manifest is not the one that
    they were made of.
    """
    clip_dir, shard_dir = Path(clip_dir), Path(shard_dir)
    run, done, empty_prompt = Run.load(shard_dir, _manifest(clip_dir))
    mend_folder(shard_dir)
    staging = Staging(shard_dir, run.settings, {clip.clip for clip in done})
    contents: dict[Bucket, list[Entry]] = defaultdict(list)
    for clip in done:
        if clip.bucket is not None:
            contents[clip.bucket].append(Entry(clip.clip, clip.key))
    for bucket in sorted(contents):
        staging.commit(bucket, contents[bucket], shards.EmptyPrompt.from_dict(empty_prompt))
    staging.close(keep=contents)
    report = _report(f"encoded {clip_dir} -> {shard_dir}", done)
    report.save(shard_dir / "report.json")
    return report


def _report(title: str, done: list[Done]) -> Report:
    report = Report(title)
    for clip in done:
        report.add(clip.clip, clip.status, clip.reason, clip.detail)
    return report


def _process() -> tuple[int, int]:
    return (jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else (0, 1)


def _manifest(clip_dir: Path) -> str:
    return digest(clip_dir / "manifest.parquet")


def _clips(clip_dir: Path, stage: int | None) -> list[Clip]:
    """The prepared clips, or of these the stage's, by id."""
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
    return clips


def _settings(
    encoders: FrozenEncoders,
    buckets: tuple[Bucket, ...],
    stride_frames: int,
    records_per_shard: int,
    stage: int | None,
) -> dict[str, Any]:
    """What all records of a shard folder share."""
    if stride_frames < 1 or records_per_shard < 1:
        raise InputError("stride_frames and records_per_shard must be at least 1")
    return records.settings(encoders, buckets[0].frames) | {
        "sample_rate": SAMPLE_RATE,
        "buckets": [[bucket.height, bucket.width] for bucket in buckets],
        "stride_frames": stride_frames,
        "records_per_shard": records_per_shard,
        "stage": stage,
    }


# ---- one clip


class _Encoder:
    """Turns one clip into serialized records."""

    def __init__(self, clip_dir: Path, encoders: FrozenEncoders, settings: dict[str, Any]):
        self.clip_dir, self.frames, self.stride = clip_dir, settings["frames"], settings["stride_frames"]
        self.needs_actions = settings["stage"] == 2
        self.make_record = RecordMaker(encoders)

    def files(self, clip: Clip) -> list[Path]:
        """The video, and the prompt beside it if there is one."""
        video = clip_path(clip, self.clip_dir)
        if not video.is_file():
            raise InputError(f"{video} is in the manifest but not on disk; run `prepare` again")
        prompt = video.with_suffix(".json")
        return [video, prompt] if prompt.is_file() else [video]

    def records(self, clip: Clip, bucket: Bucket) -> Iterator[bytes]:
        """The records of all windows of a clip, in order. Raises Skip if it has none or cannot be encoded."""
        video, *prompt_file = self.files(clip)
        start = None
        try:
            prompt = StructuredPrompt.load(prompt_file[0]) if prompt_file else BRIEF_PROMPT
            if self.needs_actions and not prompt.phases:
                raise Skip("no actions", "its prompt names no action, which stage 2 needs; see `annotate`")
            audio = decode_audio(video, origin=probe(video).start)
            frames = read_frames(video, size=(bucket.height, bucket.width))
            for start, window in cut_windows(frames, self.frames, self.stride):
                end = start + self.frames
                samples = fit_audio(audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME], self.frames)
                part = prompt.window(start / FPS, end / FPS)
                yield shards.serialize(self._record(clip.id, start, window, samples, part))
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        if start is None:
            raise Skip("too short", f"the clip has {clip.facts['prepare.frames']} frames, a window needs {self.frames}")

    def _record(
        self, clip: str, start: int, frames: np.ndarray, samples: np.ndarray, prompt: StructuredPrompt
    ) -> shards.Record:
        try:
            self.make_record.text(prompt)
        except InputError as error:
            raise Skip("invalid prompt", str(error)) from error
        try:
            return self.make_record(clip, start, frames, samples, prompt)
        except FloatingPointError as error:
            raise Skip("not finite", str(error)) from error


def cut_windows(frames: Iterable[np.ndarray], length: int, stride: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first frame, frames [length, h, w, 3]) of every whole window, holding one window of frames at a time."""
    held = deque(maxlen=length)
    for number, frame in enumerate(frames):
        held.append(frame)
        start = number + 1 - length
        if start >= 0 and start % stride == 0:
            yield start, np.stack(held)
