"""The one time base: frame k shows the instant k / 25 s and owns audio samples 640 k to 640 k + 639.

Videos can also be made at another rate of `RATES`, for weights that were trained at it: frame k then shows k / rate s.

The video autoencoder codes frame 0 alone and then groups of four, so clips have 4k + 1 frames: latent frame 0 is frame
0, latent frame i > 0 is frames 4i - 3 to 4i.
"""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from actavatar_jax.errors import InputError

FPS = 25
RATES = (16, FPS)  # frames a second that videos are made at; each has whole samples of speech in a frame
SAMPLE_RATE = 16000
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
LONGEST_HOLE = 60  # seconds that time stamps may run ahead of what there is: a picture is held, sound is silent
LONGEST_RETURN = 1  # seconds that they may jump back: what is there twice is left out

Item = TypeVar("Item")


def latent_frames(frames: int) -> int:
    """Number of latent frames of a clip of `frames` = 4k + 1 frames; any other number is an InputError."""
    if frames < 1 or frames % 4 != 1:
        raise InputError(
            f"A clip of {frames} frames cannot be coded; accepted are 1, 5, 9, ... (4k + 1) frames, "
            f"for example {floor_frames(max(frames, 1))} or {floor_frames(max(frames, 1)) + 4}."
        )
    return (frames - 1) // 4 + 1


def floor_frames(frames: int) -> int:
    """Largest 4k + 1 that is at most `frames` (one or more)."""
    if frames < 1:
        raise InputError(f"A clip needs at least one frame, not {frames}.")
    return (frames - 1) // 4 * 4 + 1


def frame_count(samples: int) -> int:
    """Number of whole frames that `samples` audio samples at 16 kHz last."""
    return samples // SAMPLES_PER_FRAME


def latent_times(count: int, rate: int = FPS) -> Float[np.ndarray, " T"]:
    """Seconds of latent frames 0 .. count - 1: 0, then the mean time of the four frames 4i - 3 .. 4i."""
    index = np.arange(count)
    return np.where(index == 0, 0.0, (4 * index - 1.5) / rate).astype(np.float32)


def can_bridge(step: Fraction) -> bool:
    """Whether so many seconds between time stamps and what there is can be made up for."""
    return -LONGEST_RETURN <= step <= LONGEST_HOLE


def check_step(name: str, here: Fraction, there: Fraction) -> None:
    """InputError, with `name` as its subject, where time stamps go further than can be bridged, in seconds."""
    if not can_bridge(there - here):
        raise InputError(
            f"{name} jumps in time from {float(here):.2f} s to {float(there):.2f} s; accepted are jumps of at most "
            f"{LONGEST_HOLE} s ahead and {LONGEST_RETURN} s back: cut it into parts."
        )


def nearest_frames(timed: Iterable[tuple[Fraction, Fraction, Item]]) -> Iterator[Item]:
    """The item nearest in time to each 1/25 s slot, duplicating and dropping by time stamp, never by index.

    timed: (time, duration, item) in seconds, in display order; slot 0 is the first item's time. An item whose time
    does not come after the one before it cannot be placed and is left out. As many slots as the items last, rounded,
    and at least one. Where items are at most 40 ms apart, an item is at most 20 ms from its slot.
    """
    slot, origin, held = 0, Fraction(0), None
    for time, duration, item in timed:
        if held is None:
            origin = time
        elif time <= held[0]:
            continue
        else:
            middle = (held[0] + time) / 2 - origin
            while Fraction(slot, FPS) < middle:
                yield held[2]
                slot += 1
        held = time, duration, item
    if held is not None:
        lasting = (held[0] + held[1] - origin) * FPS
        for _ in range(slot, max(1, math.floor(lasting + Fraction(1, 2)))):
            yield held[2]
