"""The pictures of a video stream, one after the other, each with its time."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, check_step
from actavatar_jax.media.colour import ColourConverter
from actavatar_jax.media.container import choose_stream, stated_duration
from actavatar_jax.media.fields import deinterlaced
from actavatar_jax.media.notes import warn_once
from actavatar_jax.storage import named

MISSING = Fraction(1, 10)  # seconds that a header may promise in excess
HOLE = 1  # seconds without a picture that are worth a word
MOST_PIXELS = 8192 * 8192
WIDEST_PIXEL = 4


@dataclass(frozen=True, eq=False)
class Picture:
    frame: av.VideoFrame
    pixel_aspect: Fraction
    interlaced: bool  # as it was stored
    colours: ColourConverter

    def upright(self) -> UInt8[np.ndarray, "H W 3"]:
        """sRGB with square pixels, turned and mirrored as the file asks."""
        image = self.colours.to_rgb(self.frame, max(1, round(self.frame.width * self.pixel_aspect)))
        matrix = self.frame.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return image
        # Stored (x, y) is shown at (a x + c y, b x + d y); only quarter turns and mirrors are meant for players.
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
        if abs(b) > abs(a):
            image, a, d = image.swapaxes(0, 1), c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The stream to decode; InputError where there is none, or its pictures are too large."""
    stream = choose_stream(container, "video", path)
    if stream is None:
        raise InputError(f"Video {named(path)} has no video stream.")
    if stream.width * stream.height > MOST_PIXELS:
        size = f"{stream.width}x{stream.height}"
        raise InputError(f"Video {named(path)} is {size} pixels; accepted are at most {MOST_PIXELS:,}.")
    stream.thread_type = "AUTO"
    return stream


def timed_pictures(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, start: Fraction | None = None
) -> Iterator[tuple[Fraction, Fraction, Picture]]:
    """(time, duration, picture) in display order, each later than the one before it.

    Left out are pictures before the first key picture, which lack those they are made of, and pictures whose time does
    not go on; what is left out, damaged or long missing is logged. InputError for steps in time that `check_step`
    refuses, and at the end where pictures are missing. start: the time of the video's first picture, where the
    container was moved to a later one.
    """
    name, colours, aspect = f"The picture of {named(path)}", ColourConverter(named(path)), _pixel_aspect(stream, path)
    previous, duration, faults = None, 1 / Fraction(stream.average_rate or FPS), set()
    try:
        for frame, interlaced in deinterlaced(_from_key(container, stream, faults if start is None else set())):
            awaited = (start or Fraction(0)) if previous is None else previous + duration
            time = awaited if frame.pts is None else frame.pts * frame.time_base
            if frame.duration:
                duration = frame.duration * frame.time_base
            elif previous is not None and time > previous:
                duration = time - previous
            if previous is not None:
                check_step(name, previous, time)
                if time <= previous:
                    faults.add("some come too late and are left out")
                    continue
                if time > awaited + HOLE:
                    faults.add("some are missing, and those before are held")
            elif start is None:
                start = time
            check_step(name, time, time + duration)
            if frame.is_corrupt:
                faults.add("some are damaged")
            previous = time
            yield time, duration, Picture(frame, aspect, interlaced, colours)
    finally:
        if faults:
            warn_once(f"Of the pictures of {named(path)} {'; '.join(sorted(faults))}")
    if previous is None:
        raise InputError(f"Video {named(path)} is damaged: it holds no picture that can be decoded.")
    declared, end = stated_duration(container, stream), previous + duration
    begin = start if stream.start_time is None else min(start, stream.start_time * stream.time_base)
    if end < begin + declared - MISSING:
        lasts = f"{float(end - begin):.2f} s of {float(declared):.2f} s"
        raise InputError(f"Video {named(path)} is damaged: its pictures break off after {lasts}.")


def _from_key(
    container: av.container.InputContainer, stream: av.VideoStream, faults: set[str]
) -> Iterator[av.VideoFrame]:
    """The frames from the first key picture on. Those before it, which decoders leave out or guess, are a fault."""
    begin, torn, keyed = None, False, False
    for packet in container.demux(stream):
        if begin is None and packet.pts is not None:
            begin, torn = packet.pts * packet.time_base, not packet.is_keyframe
        for frame in packet.decode():
            if frame.key_frame and not keyed:
                keyed = True
                lost = 0 if None in (frame.pts, begin) else float(frame.pts * frame.time_base - begin)
                if torn and lost > MISSING:
                    faults.add(f"those of the first {lost:.2f} s lack their key picture and are left out")
            if keyed:
                yield frame


def _pixel_aspect(stream: av.VideoStream, path: Path) -> Fraction:
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    if 1 <= WIDEST_PIXEL * aspect <= WIDEST_PIXEL**2:
        return aspect
    warn_once(f"{named(path)} claims pixels of {aspect} times their height in width; they are taken as square")
    return Fraction(1)
