"""A stretch of a video on the 25 fps clock, found by seeking, with what the clock did to its pictures."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, nearest_frames
from actavatar_jax.media.container import open_container
from actavatar_jax.media.pictures import Picture, timed_pictures, video_stream
from actavatar_jax.media.video import VideoInfo

EARLIER = 0, 10, 60  # seconds to go back to a key picture: files without an index lead anywhere before a time
EARLY = Fraction(1, 100)  # seconds a picture may come before the start: time stamps and annotations are rounded


class Stretch:
    """The upright pictures from `start` to `end` seconds after the video's first picture, one per 1/25 s.

    The stretch begins with the first picture at or after `start`, or a rounding error before; `origin` is its time
    stamp. It may be iterated once; `frames` counts the pictures, `slot_error` is the largest distance in seconds of a
    picture's time stamp to its slot so far, and `interlaced` says whether any of them was stored as two fields. Raises
    InputError where the video ends before or breaks off within.
    """

    def __init__(self, path: Path, info: VideoInfo, start: float = 0.0, end: float | None = None):
        begin = info.start + Fraction(start)
        self._timed = itertools.dropwhile(lambda timed: timed[0] < begin - EARLY, _decoded(path, info, begin))
        first = next(self._timed, None)
        if first is None:
            raise InputError(f"Video {path} ends before {start:.2f} s, where the stretch begins.")
        self._timed = itertools.chain([first], self._timed)
        self._most = None if end is None else max(1, round((end - start) * FPS))
        self.origin, self.frames, self.slot_error, self.interlaced = first[0], 0, 0.0, False

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        shown, image = None, None
        timed = ((time, duration, (time, picture)) for time, duration, picture in self._timed)
        for time, picture in itertools.islice(nearest_frames(timed), self._most):
            error = abs(time - self.origin - Fraction(self.frames, FPS))
            self.slot_error = max(self.slot_error, float(error))
            self.frames += 1
            if picture is not shown:
                shown, image = picture, picture.upright()
                self.interlaced = self.interlaced or picture.interlaced
            yield image


def crop_slices(crop: tuple[float, float, float, float] | None, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a clip's crop: whole pixels inside the picture, and an even number of them."""
    left, top, across, down = crop or (0.0, 0.0, 1.0, 1.0)
    return _span(top, down, height), _span(left, across, width)


def _span(start: float, length: float, pixels: int) -> slice:
    first = min(max(round(start * pixels), 0), pixels)
    last = min(max(round((start + length) * pixels), first), pixels)
    return slice(first, first + (last - first) // 2 * 2)


def _decoded(path: Path, info: VideoInfo, begin: Fraction) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    """(time stamp, duration, picture) in display order, from a key picture before the time stamp `begin`."""
    for earlier in EARLIER:
        if begin - earlier <= info.start:
            break
        with open_container(path, "video") as container:
            timed = _from(container, path, info, begin - earlier)
            first = next(timed, None)
            if first is not None and first[0] <= begin:
                yield first
                yield from timed
                return
    with open_container(path, "video") as container:
        yield from timed_pictures(container, video_stream(container, path), path, info.start)


def _from(
    container: av.container.InputContainer, path: Path, info: VideoInfo, begin: Fraction
) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    """What is decoded from about `begin` on; nothing where no key picture is found from there on."""
    stream = video_stream(container, path)
    try:
        container.seek(int(begin / stream.time_base), stream=stream)
        timed = timed_pictures(container, stream, path, info.start)
        first = next(timed)
    except (av.FFmpegError, InputError):
        return
    yield first
    yield from timed
