"""From any videos to clips on one clock (25 frames a second, 16 kHz sound), each with its prompt, and a manifest."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import VideoInfo, probe, read_frames, write_video
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.buckets import DEFAULT_SIZES, choose_bucket, parse_buckets
from data_pipelines.files import digest, write_json
from data_pipelines.manifest import Manifest, Row
from data_pipelines.report import Report, Skip

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Limits:
    """What a clip must have at least."""

    frames: int  # at 25 fps
    side: int  # pixels of the short side


def prepare(
    video_dir: str | Path, clip_dir: str | Path, *, min_frames: int = 75, min_side: int = 256, progress: bool = True
) -> Report:
    """Makes `clip_dir/clips/<id>.mp4`, `<id>.json` and `clip_dir/manifest.jsonl` of all videos below `video_dir`.

    A video's prompt is the `.json` (structured prompt) or else the `.txt` (caption, or a prompt in text form) of the
    same name beside it, or none. Videos and prompts that have not changed since an earlier run, complete or killed, are
    not done again. Clips of fewer than `min_frames` frames or with a side below `min_side` pixels are left out.

    Returns the report, also written to `clip_dir/report.json`. Raises InputError if there is no video at all.
    """
    video_dir, clip_dir = Path(video_dir), Path(clip_dir)
    sources = (
        sorted(p for p in video_dir.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if video_dir.is_dir()
        else []
    )
    if not sources:
        raise InputError(f"{video_dir}: no video here or below; accepted are {', '.join(SUFFIXES)} files")
    (clip_dir / "clips").mkdir(parents=True, exist_ok=True)
    for partial in (clip_dir / "clips").glob(".*.partial"):  # of a run that was killed
        partial.unlink()

    limits = Limits(min_frames, min_side)
    manifest = Manifest(clip_dir)
    report = Report(f"prepared {video_dir} -> {clip_dir}")
    names = {source: source.relative_to(video_dir).as_posix() for source in sources}
    for source, name in tqdm(names.items(), "prepare", unit="video", disable=not progress):
        version = _version(source)
        done = manifest.rows.get(name)
        if done and done.status == "ok" and done.version == version and _clip(clip_dir, name).is_file():
            report.add(name, "kept")
            continue
        row = _prepare_one(source, name, version, clip_dir, limits)
        manifest.add(row)
        report.add(name, "made" if row.status == "ok" else "skipped", row.reason, row.detail)
    manifest.finish(list(names.values()))
    report.save(clip_dir / "report.json")
    return report


def _prepare_one(source: Path, name: str, version: str, clip_dir: Path, limits: Limits) -> Row:
    """Writes the clip and its prompt; the row says 'skipped' and why if that cannot be."""
    clip = _clip(clip_dir, name)
    try:
        info = _checked(source, limits)
        prompt = _load_prompt(source, info.duration)
        frames = _write_clip(source, clip, info, limits)
    except Skip as skip:
        for stale in (clip, clip.with_suffix(".json")):
            stale.unlink(missing_ok=True)
        return Row(clip.stem, name, version, "skipped", skip.reason, skip.detail)
    if prompt is None:
        clip.with_suffix(".json").unlink(missing_ok=True)
    else:
        write_json(clip.with_suffix(".json"), prompt.to_dict())
    height, width = _even(info.height), _even(info.width)
    nearest = choose_bucket(height, width, parse_buckets(DEFAULT_SIZES, 125))
    return Row(
        id=clip.stem,
        source=name,
        version=version,
        status="ok",
        caption="none" if prompt is None else "structured" if prompt.phases else "brief",
        height=height,
        width=width,
        frames=frames,
        seconds=frames / FPS,
        bucket=f"{nearest.height}x{nearest.width}",
    )


def _checked(source: Path, limits: Limits) -> VideoInfo:
    """What can be said without decoding the video."""
    try:
        info = probe(source)
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    if not info.has_audio:
        raise Skip("no audio stream", "the video has no audio stream")
    if min(info.height, info.width) < limits.side:
        raise Skip("too small", f"{info.width}x{info.height} pixels, the short side must have {limits.side}")
    return info


def _load_prompt(source: Path, seconds: float) -> StructuredPrompt | None:
    files = _prompt_files(source)
    if not files:
        return None
    try:
        prompt = StructuredPrompt.load(files[0])
        prompt.check(math.ceil(seconds * 10 - 1e-6) / 10)  # prompts are written to a tenth of a second
    except InputError as error:
        raise Skip("invalid prompt", f"{files[0].name}: {error}") from error
    return prompt


def _write_clip(source: Path, clip: Path, info: VideoInfo, limits: Limits) -> int:
    """Writes the clip while it is decoded; returns the number of its frames."""
    count = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal count
        for frame in read_frames(source):
            count += 1
            yield frame[: _even(frame.shape[0]), : _even(frame.shape[1])]
        if count < limits.frames:
            raise Skip("too short", f"{count} frames of 1/{FPS} s, at least {limits.frames} are needed")

    try:
        audio = decode_audio(source, origin=info.start)
        if audio is None or not len(audio):
            raise Skip("no audio stream", "the audio stream holds no sound")
        write_video(clip, frames(), audio)
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    return count


def _version(source: Path) -> str:
    """Names the state of a video and its prompt: size and time of the large file, contents of the small ones."""
    facts = source.stat()
    return digest(f"{facts.st_size} {facts.st_mtime_ns}", *_prompt_files(source))


def _prompt_files(source: Path) -> list[Path]:
    return [path for path in (source.with_suffix(".json"), source.with_suffix(".txt")) if path.is_file()]


def _clip(clip_dir: Path, name: str) -> Path:
    """The clip of the source called `name`; the digits keep equal names in different folders apart."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem)[:60]
    return clip_dir / "clips" / f"{stem}-{digest(name)[:6]}.mp4"


def _even(side: int) -> int:
    return side // 2 * 2
