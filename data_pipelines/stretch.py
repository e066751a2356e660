"""A stretch of a video on the 25 fps clock, found by seeking, with what the clock did to its pictures."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, nearest_frames
from actavatar_jax.media.container import opened
from actavatar_jax.media.video import MISSING, Picture, VideoInfo, video_stream

EARLY = Fraction(1, 100)  # seconds a picture may come before the start: time stamps and annotations are rounded


class Stretch:
    """The upright pictures from `start` to `end` seconds after the video's first picture, one per 1/25 s.

    The stretch begins with the first picture at or after `start`, or a rounding error before; `origin` is its time
    stamp. It may be iterated once; `frames` counts the pictures, and `slot_error` is the largest distance in seconds of
    a picture's time stamp to its slot so far. Raises InputError where the video ends before or breaks off within.
    """

    def __init__(self, path: Path, info: VideoInfo, start: float = 0.0, end: float | None = None):
        begin = info.start + Fraction(start)
        self._timed = itertools.dropwhile(lambda timed: timed[0] < begin - EARLY, _decoded(path, info, begin))
        first = next(self._timed, None)
        if first is None:
            raise InputError(f"Video {path} ends before {start:.2f} s, where the stretch begins.")
        self._timed = itertools.chain([first], self._timed)
        self._most = None if end is None else max(1, round((end - start) * FPS))
        self.origin, self.frames, self.slot_error = first[0], 0, 0.0

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        shown, image = None, None
        timed = ((time, duration, (time, picture)) for time, duration, picture in self._timed)
        for time, picture in itertools.islice(nearest_frames(timed), self._most):
            error = abs(time - self.origin - Fraction(self.frames, FPS))
            self.slot_error = max(self.slot_error, float(error))
            self.frames += 1
            if picture is not shown:
                shown, image = picture, picture.upright()
            yield image


def _decoded(path: Path, info: VideoInfo, begin: Fraction) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    """(time stamp, duration, picture) in display order, from the last key picture before the time stamp `begin`."""
    with opened(path, "video") as container:
        stream = video_stream(container, path)
        declared = None if stream.duration is None else info.start + stream.duration * stream.time_base
        pixel_aspect = Fraction(stream.sample_aspect_ratio or 1)
        if begin > info.start:
            container.seek(int(begin / stream.time_base), stream=stream)
        time, duration, sought = info.start, 1 / Fraction(stream.average_rate or FPS), begin > info.start
        for frame in container.decode(stream):
            if frame.pts is not None:
                previous, time = time, frame.pts * frame.time_base
            else:
                previous, time = time, time + duration
            if frame.duration:
                duration = frame.duration * frame.time_base
            elif time > previous and not sought:
                duration = time - previous
            sought = False
            yield time, duration, Picture(frame, pixel_aspect)
    if declared is not None and time + duration < declared - MISSING:
        raise InputError(
            f"Video {path} is damaged: its pictures break off after {float(time + duration - info.start):.2f} s "
            f"of {float(declared - info.start):.2f} s."
        )
