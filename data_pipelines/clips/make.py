"""One clip: a stretch of a video on the clock, its sound, its prompt, and what there is to say of them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.media.clock import FPS, SAMPLES_PER_FRAME
from actavatar_jax.media.formats import check_file
from actavatar_jax.media.video import VideoInfo, probe, write_video
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage import Place, StorePath, fetched, join, named, write_json
from data_pipelines.clips.stretch import Stretch, crop_slices
from data_pipelines.clips.trim import trim_clip
from data_pipelines.table import Clip, Skip, actions_path, caption_path, clip_path, digest, digest_once

TOO_SMALL, TOO_SHORT = "too small", "too short"


def source_state(clip: Clip, clip_dir: Place) -> str:
    """Names what a clip is made of: contents of the video and of its prompts, its row."""
    source = join(clip_dir, clip.source)
    try:
        _check_source(source)
    except InputError as error:
        raise Skip("no source", str(error)) from error
    row = f"{clip.start} {clip.end} {clip.crop} {clip.caption}"
    return digest(digest_once(source), row, *_prompt_files(clip, source))


def _check_source(source: Place) -> None:
    """InputError where there is no file of this name, with something in it."""
    if not isinstance(source, StorePath):
        check_file(source, f"Video {named(source)}")
    elif not source.is_file() or not source.stat().st_size:
        raise InputError(f"Video {named(source)}: it is empty or not there; accepted is a file that is not empty.")


@dataclass(frozen=True)
class KeepClip:
    """Whether a clip that was made of the same is there, or was left out for a reason that still holds: what is
    accepted, `frames` and `side` as in `MakeClip`, may be another now."""

    frames: int
    side: int

    def __call__(self, clip: Clip, clip_dir: Place, row: Mapping[str, Any]) -> bool:
        error, sides, frames = row["error"], (row.get("height"), row.get("width")), row.get("frames")
        if error not in (None, TOO_SMALL, TOO_SHORT):
            return True
        small = None not in sides and min(sides) < self.side
        short = frames is not None and frames < self.frames
        if error is None:
            return not small and not short and clip_path(clip, clip_dir).is_file()
        if error == TOO_SMALL:
            return small
        return not small and (short or frames is None)  # of a shot of a film that is too short nothing is known


@dataclass(frozen=True)
class MakeClip:
    """Makes a clip, as `prepare_clips` says, that has at least `frames` frames and `side` pixels on its short side."""

    frames: int
    side: int
    trim: bool

    def __call__(self, clip: Clip, clip_dir: Place) -> dict[str, Any]:
        """The clip's columns. Raises Skip, with nothing of the clip left on disk, if it cannot be made."""
        source, path = join(clip_dir, clip.source), clip_path(clip, clip_dir)
        caption = caption_path(clip, clip_dir)
        try:
            with fetched(source) as video:
                info = self._checked(video)
                box = self._checked_box(clip, info)
                prompt, trimmed = _load_prompt(clip, source, info.duration), {}
                if self.trim:
                    clip, prompt, trimmed = _trimmed(clip, prompt, video, info)
                    box = self._checked_box(clip, info)
                stretch = self._write(video, info, clip, box, path)
        except Skip:
            for stale in (path, caption, actions_path(clip, clip_dir)):
                stale.unlink(missing_ok=True)
            raise
        actions_path(clip, clip_dir).unlink(missing_ok=True)  # of the clip as it was before
        if prompt is None:
            caption.unlink(missing_ok=True)
        else:
            write_json(caption, prompt.to_dict())
        return {
            "frames": stretch.frames,
            "height": box[0].stop - box[0].start,
            "width": box[1].stop - box[1].start,
            "seconds": stretch.frames / FPS,
            "fps_in": info.fps,
            "rotation": info.rotation,
            "interlaced": stretch.interlaced,
            "slot_error_ms": round(stretch.slot_error * 1000, 3),
            "bytes": path.stat().st_size,
            "digest": digest(path),
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
        box = crop_slices(clip.crop, info.height, info.width)
        height, width = (side.stop - side.start for side in box)
        if min(height, width) < self.side:
            size = {"height": height, "width": width}
            raise Skip(TOO_SMALL, f"{width}x{height} pixels, the short side must have {self.side}", size)
        return box

    def _write(self, source: Path, info: VideoInfo, clip: Clip, box: tuple[slice, slice], path: Place) -> Stretch:
        """Writes the clip while it is decoded."""
        try:
            stretch = Stretch(source, info, clip.start, clip.end)
            end = info.duration if clip.end is None else min(clip.end, info.duration)
            most = math.ceil(max(end - clip.start, 0) * FPS + 1) * SAMPLES_PER_FRAME
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
            detail = f"{stretch.frames} frames of 1/{FPS} s, at least {self.frames} are needed"
            facts = {
                "frames": stretch.frames,
                "height": box[0].stop - box[0].start,
                "width": box[1].stop - box[1].start,
            }
            raise Skip(TOO_SHORT, detail, facts)


def _load_prompt(clip: Clip, source: Place, seconds: float) -> StructuredPrompt | None:
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
        cut, shots = trim_clip(source, info, clip)
    except InputError as error:
        raise Skip("unreadable", str(error)) from error
    if prompt is not None and (cut.start, cut.end) != (clip.start, clip.end):
        prompt = prompt.window(cut.start, info.duration if cut.end is None else cut.end)
    return cut, prompt, {"shots": shots, "start": cut.start, "end": cut.end, "crop": cut.crop}


def _prompt_files(clip: Clip, source: Place) -> list[Place]:
    """What lies beside a video speaks of the whole."""
    if clip.start or clip.end is not None:
        return []
    return [path for path in (source.with_suffix(".json"), source.with_suffix(".txt")) if path.is_file()]
