"""All frames of a clip, from its keyframes and the schedule that says what each frame lies between."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float32

from actavatar_jax.avatarsync.units import Schedule
from actavatar_jax.errors import InputError

# Pairs [P, h, w, 3] and [P, h, w, 3], times [P, n] -> frames [P, n, h, w, 3].
Interpolate = Callable[[np.ndarray, np.ndarray, np.ndarray], Float[np.ndarray, "P n h w 3"]]


def fill_frames(
    keyframes: Float32[np.ndarray, "T h w 3"], schedule: Schedule, interpolate: Interpolate, batch: int = 8
) -> Float32[np.ndarray, "F h w 3"]:
    """Every frame: a keyframe where the schedule says so, else what `interpolate` makes of the two beside it.

    Pairs run side by side, `batch` at a time and each with as many times as the longest has (0.5 where it has none
    left), so that there is one shape to compile for. Pixels are in [0, 1].

    Raises:
      InputError: not as many keyframes as the schedule has.
    """
    if len(keyframes) != len(schedule.keyframes):
        raise InputError(f"There are {len(keyframes)} keyframes for a schedule of {len(schedule.keyframes)}.")
    frames = keyframes[schedule.left].astype(np.float32)
    moving = np.flatnonzero(schedule.t > 0)
    inside = [moving[schedule.left[moving] == left] for left in np.unique(schedule.left[moving])]
    longest = max(map(len, inside), default=0)
    for begin in range(0, len(inside), batch):
        group = inside[begin : begin + batch]
        times = np.full((batch, longest), 0.5, np.float32)
        left, right = np.zeros((2, batch), np.int32)
        for row, numbers in enumerate(group):
            times[row, : len(numbers)] = schedule.t[numbers]
            left[row], right[row] = schedule.left[numbers[0]], schedule.right[numbers[0]]
        made = np.asarray(interpolate(keyframes[left], keyframes[right], times))
        for row, numbers in enumerate(group):
            frames[numbers] = made[row, : len(numbers)]
    return frames
