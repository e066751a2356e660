"""Video in: any video file to 25 upright frames a second with its sound; and a video in memory, which can be saved."""

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, nearest_frames
from actavatar_jax.media.container import choose_stream, open_container
from actavatar_jax.media.decoding import decode_sound
from actavatar_jax.media.encoding import write_video
from actavatar_jax.media.image import fit_image
from actavatar_jax.media.pictures import Picture, timed_pictures, video_stream
from actavatar_jax.media.sound import Sound
from actavatar_jax.storage import named


@dataclass(frozen=True)
class Video:
    """Frames, `fps` of them a second, and their sound (None where there is none); both start together.

    sound: as recorded, with its own rate and channels; an array [n] at 16 kHz becomes one.
    """

    frames: UInt8[np.ndarray, "F H W 3"]
    sound: Sound | Float[np.ndarray, " n"] | None = None
    fps: int = FPS

    def __post_init__(self) -> None:
        if self.sound is not None:
            object.__setattr__(self, "sound", Sound.coerce(self.sound))

    @functools.cached_property
    def audio(self) -> Float32[np.ndarray, " n"] | None:
        """The sound as mono 16 kHz samples, which is what encoders hear."""
        return None if self.sound is None else self.sound.to_audio()

    def save(self, path: str | Path) -> None:
        """Written as an mp4; see `write_video`. InputError also where the disk refuses."""
        try:
            write_video(path, self.frames, self.sound, self.fps)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"Video {named(path)} cannot be written: {reason}.") from error


@dataclass(frozen=True)
class VideoInfo:
    """What a video file says of itself. Width and height are those of the upright picture with square pixels."""

    width: int
    height: int
    duration: float  # seconds
    fps: float  # mean
    frames: int
    has_audio: bool
    codec: str
    rotation: int  # degrees counter-clockwise that the player is told to turn the stored picture
    start: Fraction  # time stamp of the first frame, seconds


def load_video(path: str | Path, max_seconds: float | int | None = None, size: tuple[int, int] | None = None) -> Video:
    """The video on the 25 fps clock, by time stamp, with its sound; frame 0 and sample 0 are the file's first picture.

    Sound before the first picture is left out, and sound is cut or filled up with silence to the frames' length.
    max_seconds: read no more than this. size: (height, width) to which each frame is brought while decoding. Refused
    with an InputError: a missing or damaged file, one without pictures, one that breaks off, one of more frames than
    half of the free memory holds.
    """
    frames = np.stack(list(_within_memory(read_frames(path, max_seconds, size), path)))
    start, _, _ = next(_decoded(Path(path)))
    sound = decode_sound(Path(path), origin=start, max_seconds=Fraction(len(frames), FPS))
    return Video(frames, None if sound is None or not len(sound.samples) else sound.fit(len(frames)))


def read_frames(
    path: str | Path, max_seconds: float | int | None = None, size: tuple[int, int] | None = None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The frames of `load_video` one after the other; only one decoded picture is held at a time."""
    slots = nearest_frames(_decoded(Path(path)))
    count = None if max_seconds is None else max(1, math.floor(max_seconds * FPS + 1e-6))
    shown, image, before = None, None, None
    for frame in itertools.islice(slots, count):
        if frame is not shown:
            shown, image = frame, frame.upright()
            image = image if size is None else fit_image(image, *size)
            if before not in (None, image.shape):
                first, here = (f"{width}x{height}" for height, width, _ in (before, image.shape))
                raise InputError(
                    f"Video {named(path)} changes its size from {first} to {here} pixels within; cut it there."
                )
            before = image.shape
        yield image


def probe(path: str | Path) -> VideoInfo:
    """Facts of a video file, from its header and its first frame; InputError as in `load_video`."""
    with open_container(Path(path), "video") as container:
        stream = video_stream(container, Path(path))
        start, _, picture = next(timed_pictures(container, stream, Path(path)))
        height, width = picture.upright().shape[:2]
        has_audio = choose_stream(container, "audio", Path(path)) is not None
        frames, fps = stream.frames, stream.average_rate
        duration = None if stream.duration is None else stream.duration * stream.time_base
    if not frames or duration is None or not fps:  # matroska and raw streams do not say
        with open_container(Path(path), "video") as container:
            packets = container.demux(video_stream(container, Path(path)))
            stamps = [(p.pts or 0, p.duration or 0, p.time_base) for p in packets if p.size]
        frames = len(stamps)
        duration = max((pts + lasting) * base for pts, lasting, base in stamps) - start
        duration = duration if duration > 0 else Fraction(frames, FPS)
        fps = frames / duration
    return VideoInfo(
        width=width,
        height=height,
        duration=float(duration),
        fps=float(fps),
        frames=frames,
        has_audio=has_audio,
        codec=stream.codec_context.name,
        rotation=picture.frame.rotation,
        start=start,
    )


def _within_memory(frames: Iterator[np.ndarray], path: str | Path) -> Iterator[np.ndarray]:
    free = psutil.virtual_memory().available
    for number, frame in enumerate(frames, start=1):
        if 2 * number * frame.nbytes > free:  # the list of frames and the array of them
            held = f"more than {number / FPS:.0f} s, which {free / 2**30:.1f} GiB of free memory do not hold"
            raise InputError(f"Video {named(path)} lasts {held}; ask for fewer seconds or a smaller size.")
        yield frame


def _decoded(path: Path) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    with open_container(path, "video") as container:
        yield from timed_pictures(container, video_stream(container, path), path)
