"""From videos to clips on one clock (25 frames a second, 16 kHz sound), each with its prompt, and a table of them."""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.media.clock import FPS, SAMPLES_PER_FRAME
from actavatar_jax.media.video import VideoInfo, probe, write_video
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage.documents import write_json
from actavatar_jax.storage.writing import mend_folder
from data_pipelines.clips import trim as trimming
from data_pipelines.clips.stretch import Stretch, crop_box
from data_pipelines.corpora import corpus_table, located
from data_pipelines.table import Clip, Table
from data_pipelines.table.extras import extra
from data_pipelines.table.files import digest
from data_pipelines.table.report import Report, Skip
from data_pipelines.table.steps import Step, clip_path, run_step

STEP = "prepare"


def prepare(
    videos: str | Path,
    clip_dir: str | Path,
    *,
    min_frames: int = 75,
    min_side: int = 256,
    trim: bool = False,
    runner: str = "processes",
    workers: int | None = 0,
    beam_options: Sequence[str] = (),
    progress: bool = True,
) -> Report:
    """Makes `clip_dir/clips/<id>.mp4`, `<id>.json` and `clip_dir/manifest.parquet` of a table of clips or a folder.

    A clip is the table's stretch (`start`, `end`) of the video, cut to `crop`. Its prompt is the table's caption; that
    of a whole video rather the `.json` (structured prompt) or else the `.txt` (caption, or a prompt in text form) of
    the same name beside it. Clips of fewer than `min_frames` frames at 25 fps or with a side below `min_side` pixels
    are left out. With `trim`, a clip is cut to its longest shot, clear of the cuts beside it, and to the picture inside
    black borders; actions of a prompt move with it. What has not changed since an earlier run, complete or killed, is
    not done again, and what other steps found out about it stays in the table. runner, workers, beam_options: see
    `run_step`.

    Columns `prepare.*`: frames, height, width (pixels), seconds; of the source fps_in, rotation (degrees);
    interlaced, whether pictures were stored as two fields, which were made whole; slot_error_ms, the largest distance
    of a picture's time stamp to its 1/25 s slot; prompt ("structured", "brief", "none"); version, error, detail. With
    `trim` also shots (their number) and start, end (seconds in the source) and crop of what was kept, with the meaning
    that they have in the table of clips: without an end it goes to the video's, without a crop it is the whole picture.

    Returns the report, also written to `clip_dir/report.json`. Raises InputError if there is no video at all.
    """
    if trim:
        extra("scenedetect")
    clip_dir = Path(os.path.abspath(clip_dir))
    report = Report(f"prepared {videos} -> {clip_dir}")
    table = _sources(Path(videos), clip_dir, report)
    mend_folder(clip_dir / "clips")
    if (clip_dir / "manifest.parquet").is_file():
        table = table.with_steps_of(Table.read(clip_dir / "manifest.parquet"))
    settings = {"runner": runner, "workers": workers, "beam_options": beam_options, "progress": progress}
    version = f"2 {min_frames} {min_side}" + (" trim 2" if trim else "")
    step = Step(STEP, Preparation(min_frames, min_side, trim), version, source_state)
    run_step(step, _without_lost(table, clip_dir), clip_dir, report=report, **settings)
    report.save(clip_dir / "report.json")
    return report


def _sources(videos: Path, clip_dir: Path, report: Report) -> Table:
    """The clips to be made; the report gets what a folder holds beside them."""
    if not videos.is_file():
        reading = Report("")
        table = corpus_table("folder", videos, reading, clip_dir / "manifest.parquet")
        report.outcomes += [outcome for outcome in reading.outcomes if outcome.status == "skipped"]
        return table
    table = Table.read(videos)
    folder = os.path.abspath(videos.parent)
    paths = [Path(os.path.normpath(os.path.join(folder, source))) for source in table.column("source")]
    return table.with_columns({"source": [located(path, clip_dir) for path in paths]})


def _without_lost(table: Table, clip_dir: Path) -> Table:
    """The table in which clips that are no longer on disk count as not prepared."""
    if f"{STEP}.version" not in table.names:
        return table
    here = [clip.facts[f"{STEP}.error"] is not None or clip_path(clip, clip_dir).is_file() for clip in table]
    versions = zip(table.column(f"{STEP}.version"), here, strict=True)
    return table.with_columns({f"{STEP}.version": [version if there else None for version, there in versions]})


# ---- one clip


def source_state(clip: Clip, clip_dir: Path) -> str:
    """Names what a clip is made of: size and time of the video, contents of its prompts, its row."""
    source = clip_dir / clip.source
    try:
        facts = source.stat()
    except FileNotFoundError as error:
        raise Skip("no source", f"{source}: there is no such video") from error
    row = f"{clip.start} {clip.end} {clip.crop} {clip.caption}"
    return digest(f"{facts.st_size} {facts.st_mtime_ns}", row, *_prompt_files(clip, source))


@dataclass(frozen=True)
class Preparation:
    """Makes a clip that has at least `frames` frames at 25 fps and `side` pixels on its short side; see `prepare`."""

    frames: int
    side: int
    trim: bool

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        """The clip's columns. Raises Skip, with nothing of the clip left on disk, if it cannot be made."""
        source, path = clip_dir / clip.source, clip_path(clip, clip_dir)
        try:
            info = self._checked(source)
            box = self._checked_box(clip, info)
            prompt, trimmed = _load_prompt(clip, source, info.duration), {}
            if self.trim:
                clip, prompt, trimmed = _trimmed(clip, prompt, source, info)
                box = self._checked_box(clip, info)
            stretch = self._write(source, info, clip, box, path)
        except Skip:
            for stale in (path, path.with_suffix(".json")):
                stale.unlink(missing_ok=True)
            raise
        if prompt is None:
            path.with_suffix(".json").unlink(missing_ok=True)
        else:
            write_json(path.with_suffix(".json"), prompt.to_dict())
        return {
            "frames": stretch.frames,
            "height": box[0].stop - box[0].start,
            "width": box[1].stop - box[1].start,
            "seconds": stretch.frames / FPS,
            "fps_in": info.fps,
            "rotation": info.rotation,
            "interlaced": stretch.interlaced,
            "slot_error_ms": round(stretch.slot_error * 1000, 3),
            "prompt": "none" if prompt is None else "structured" if prompt.phases else "brief",
        } | trimmed

    def _checked(self, source: Path) -> VideoInfo:
        try:
            info = probe(source)
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        if not info.has_audio:
            raise Skip("no audio stream", "the video has no audio stream")
        return info

    def _checked_box(self, clip: Clip, info: VideoInfo) -> tuple[slice, slice]:
        box = crop_box(clip.crop, info.height, info.width)
        height, width = (side.stop - side.start for side in box)
        if min(height, width) < self.side:
            raise Skip("too small", f"{width}x{height} pixels, the short side must have {self.side}")
        return box

    def _write(self, source: Path, info: VideoInfo, clip: Clip, box: tuple[slice, slice], path: Path) -> Stretch:
        """Writes the clip while it is decoded."""
        try:
            stretch = Stretch(source, info, clip.start, clip.end)
            most = None if clip.end is None else math.ceil((clip.end - clip.start) * FPS + 1) * SAMPLES_PER_FRAME
            audio = decode_audio(source, origin=stretch.origin, limit=most)
            if audio is None or not len(audio):
                raise Skip("no audio stream", "the audio stream holds no sound")
            write_video(path, self._frames(stretch, box), audio)
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        return stretch

    def _frames(self, stretch: Stretch, box: tuple[slice, slice]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        for frame in stretch:
            yield frame[box]
        if stretch.frames < self.frames:
            raise Skip("too short", f"{stretch.frames} frames of 1/{FPS} s, at least {self.frames} are needed")


def _load_prompt(clip: Clip, source: Path, seconds: float) -> StructuredPrompt | None:
    files = _prompt_files(clip, source)
    if not files and not clip.caption:
        return None
    try:
        prompt = StructuredPrompt.load(files[0]) if files else StructuredPrompt(clip.caption)
        prompt.check(math.ceil(seconds * 10 - 1e-6) / 10)  # prompts are written to a tenth of a second
    except InputError as error:
        raise Skip("invalid prompt", f"{files[0].name if files else 'caption'}: {error}") from error
    return prompt


def _trimmed(
    clip: Clip, prompt: StructuredPrompt | None, source: Path, info: VideoInfo
) -> tuple[Clip, StructuredPrompt | None, dict[str, Any]]:
    """The clip and its prompt as they are after trimming, and its columns."""
    try:
        cut, shots = trimming.trim(source, info, clip)
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    if prompt is not None and (cut.start, cut.end) != (clip.start, clip.end):
        prompt = prompt.window(cut.start, info.duration if cut.end is None else cut.end)
    return cut, prompt, {"shots": shots, "start": cut.start, "end": cut.end, "crop": cut.crop}


def _prompt_files(clip: Clip, source: Path) -> list[Path]:
    """What lies beside a video speaks of the whole."""
    if clip.start or clip.end is not None:
        return []
    return [path for path in (source.with_suffix(".json"), source.with_suffix(".txt")) if path.is_file()]
