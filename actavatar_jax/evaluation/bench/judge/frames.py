"""What the judge sees of a clip: frames with their times, and no sound, which would tell what is meant."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.media import FPS, fit_image, read_frames

RATE = 8  # frames a second: a window of two seconds is sixteen of them
LONG_SIDE = 768  # pixels
SHIFTS, SHIFT = 5, 1 / 40  # a run begins later than the one before by a part of 1 / RATE, five times


def shown_frames(frames: int, run: int) -> list[int]:
    """The numbers of the frames, of `frames` at 25 a second, that a run shows.

    Runs see different ones, so that they are no repetition of one input.
    """
    count = math.ceil(frames * RATE / FPS)
    times = np.arange(count) / RATE + (run % SHIFTS) * SHIFT
    numbers = np.floor(times * FPS + 0.5).astype(int)
    return [int(number) for number in numbers if number < frames]


def sample_frames(video: Path, frames: int, run: int) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
    """Those frames with their times in seconds, at most 768 pixels on the long side.

    Raises:
      InputError: the file cannot be read as a video.
    """
    wanted = set(shown_frames(frames, run))
    for number, frame in enumerate(read_frames(video)):
        if number in wanted:
            yield number / FPS, shrink(frame)


def shrink(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """At most LONG_SIDE pixels on the long side, the aspect kept."""
    scale = min(1.0, LONG_SIDE / max(frame.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    return frame if scale == 1 else fit_image(frame, height, width)
