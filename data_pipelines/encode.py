"""From clips to encoded shards: windows of fixed length through the frozen encoders, each clip once.

A finished clip lies in `shard_dir/.staged` until its bucket's shards are written; a killed run goes on from there.
Shards are a function of the clip folder, the encoders and the settings only, so a run that was killed and repeated
ends with the same bytes.
"""

import functools
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio, fit_audio
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.media.video import probe, read_frames
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines import records, shards
from data_pipelines.buckets import DEFAULT_SIZES, Bucket, choose_bucket, parse_buckets
from data_pipelines.files import digest
from data_pipelines.manifest import Row, read_manifest
from data_pipelines.records import FrozenEncoders, RecordMaker
from data_pipelines.report import Report, Skip
from data_pipelines.staging import Entry, Staging

BRIEF_PROMPT = StructuredPrompt("A person speaking")  # for clips that nobody described


def encode(
    clip_dir: str | Path,
    shard_dir: str | Path,
    encoders: FrozenEncoders,
    *,
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

    The datasets hold exactly the clips of `clip_dir`: unchanged clips are not encoded again, clips that are gone from
    it leave. Returns the report, also written to `shard_dir/report.json`. Raises InputError where `shard_dir` holds
    records made with other encoders or settings.
    """
    clip_dir, shard_dir = Path(clip_dir), Path(shard_dir)
    table = parse_buckets(buckets, frames)
    settings = _settings(encoders, table, stride_frames or frames, records_per_shard)
    clips = [row for row in read_manifest(clip_dir) if row.status == "ok"]
    if not clips:
        raise InputError(f"{clip_dir}: the manifest has no usable clip; see {clip_dir / 'report.json'}")

    staging = Staging(shard_dir, settings, {row.id for row in clips})
    worker = _Encoder(clip_dir, encoders, frames, settings["stride_frames"])
    report = Report(f"encoded {clip_dir} -> {shard_dir}")
    contents: dict[Bucket, list[Entry]] = defaultdict(list)
    for row in tqdm(clips, "encode", unit="clip", disable=not progress):
        bucket = choose_bucket(row.height, row.width, table)
        entry = Entry(row.id, digest(*worker.files(row), json.dumps(settings, sort_keys=True)))
        try:
            made = staging.ensure(bucket, entry, functools.partial(worker.records, row, bucket))
            report.add(row.source, "made" if made else "kept")
            contents[bucket].append(entry)
        except Skip as skip:
            report.add(row.source, "skipped", skip.reason, skip.detail)
    for bucket in sorted(contents):
        staging.commit(bucket, contents[bucket], worker.make_record.empty_prompt())
    staging.close(keep=contents)
    report.save(shard_dir / "report.json")
    return report


def _settings(
    encoders: FrozenEncoders, buckets: tuple[Bucket, ...], stride_frames: int, records_per_shard: int
) -> dict[str, Any]:
    """What all records of a shard folder share."""
    if stride_frames < 1 or records_per_shard < 1:
        raise InputError("stride_frames and records_per_shard must be at least 1")
    return records.settings(encoders, buckets[0].frames) | {
        "sample_rate": SAMPLE_RATE,
        "buckets": [[bucket.height, bucket.width] for bucket in buckets],
        "stride_frames": stride_frames,
        "records_per_shard": records_per_shard,
    }


# ---- one clip


class _Encoder:
    """Turns one clip into serialized records."""

    def __init__(self, clip_dir: Path, encoders: FrozenEncoders, frames: int, stride_frames: int):
        self.clip_dir, self.frames, self.stride = clip_dir, frames, stride_frames
        self.make_record = RecordMaker(encoders)

    def files(self, row: Row) -> list[Path]:
        """The clip, and the prompt beside it if there is one."""
        clip = self.clip_dir / "clips" / f"{row.id}.mp4"
        if not clip.is_file():
            raise InputError(f"{clip} is in the manifest but not on disk; run `prepare` again")
        prompt = clip.with_suffix(".json")
        return [clip, prompt] if prompt.is_file() else [clip]

    def records(self, row: Row, bucket: Bucket) -> Iterator[bytes]:
        """The records of all windows of a clip, in order. Raises Skip if it has none or cannot be encoded."""
        clip, *prompt_file = self.files(row)
        start = None
        try:
            prompt = StructuredPrompt.load(prompt_file[0]) if prompt_file else BRIEF_PROMPT
            audio = decode_audio(clip, origin=probe(clip).start)
            frames = read_frames(clip, size=(bucket.height, bucket.width))
            for start, window in cut_windows(frames, self.frames, self.stride):
                end = start + self.frames
                samples = fit_audio(audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME], self.frames)
                part = prompt.window(start / FPS, end / FPS)
                yield shards.serialize(self._record(row.id, start, window, samples, part))
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        if start is None:
            raise Skip("too short", f"the clip has {row.frames} frames, a window needs {self.frames}")

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
