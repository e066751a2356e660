"""All frames of a clip, from its keyframes and the schedule that says what each frame lies between."""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, Float, Float32

from actavatar_jax.avatarsync.units import Schedule
from actavatar_jax.errors import InputError

BATCH = 8  # pairs side by side

# Pairs [P, h, w, 3] and [P, h, w, 3], times [P, n] -> frames [P, n, h, w, 3].
Interpolate = Callable[[np.ndarray, np.ndarray, np.ndarray], Float[np.ndarray, "P n h w 3"]]


def fill_frames(
    keyframes: Float32[np.ndarray, "T h w 3"], schedule: Schedule, interpolate: Interpolate, batch: int = BATCH
) -> Float32[np.ndarray, "F h w 3"]:
    """Every frame, as `stream_frames` gives them one after the other."""
    return np.stack([frame for _, frame in stream_frames(keyframes, schedule, interpolate, batch)])


def stream_frames(
    keyframes: Float32[np.ndarray, "T h w 3"],
    schedule: Schedule,
    interpolate: Interpolate,
    batch: int = BATCH,
    wanted: Bool[np.ndarray, " F"] | None = None,
) -> Iterator[tuple[int, Float32[np.ndarray, "h w 3"]]]:
    """Numbers and pictures of the `wanted` frames in order (None: all), each as soon as it can be shown: a keyframe
    where the schedule says so, else what `interpolate` makes of the two beside it.

    Pairs run side by side, `batch` at a time and each with as many times as the longest of the schedule has, up to the
    next power of two (0.5 where it has none left), so that there are few shapes to compile for. Pixels are in [0, 1].

    Raises:
      InputError: not as many keyframes as the schedule has.
    """
    if len(keyframes) != len(schedule.keyframes):
        raise InputError(f"There are {len(keyframes)} keyframes for a schedule of {len(schedule.keyframes)}.")
    inside = _inside(schedule)
    longest = 1 << (max(map(len, inside), default=1) - 1).bit_length()
    wanted = np.ones(len(schedule.t), bool) if wanted is None else wanted
    inside = [numbers for numbers in inside if wanted[numbers].any()]
    made: dict[int, np.ndarray] = {}
    for number in np.flatnonzero(wanted).tolist():
        if schedule.t[number] > 0 and number not in made:
            group, inside = inside[:batch], inside[batch:]
            made = _between(keyframes, schedule, group, interpolate, (batch, longest))
        yield number, made[number] if schedule.t[number] > 0 else keyframes[schedule.left[number]].astype(np.float32)


def _inside(schedule: Schedule) -> list[np.ndarray]:
    """The numbers of the frames within every pair of keyframes that has some, in order."""
    moving = np.flatnonzero(schedule.t > 0)
    return [moving[schedule.left[moving] == left] for left in np.unique(schedule.left[moving])]


def _between(
    keyframes: np.ndarray, schedule: Schedule, group: list[np.ndarray], interpolate: Interpolate, shape: tuple[int, int]
) -> dict[int, np.ndarray]:
    """The frames of a group of pairs, by their numbers."""
    times = np.full(shape, 0.5, np.float32)
    left, right = np.zeros((2, shape[0]), np.int32)
    for row, numbers in enumerate(group):
        times[row, : len(numbers)] = schedule.t[numbers]
        left[row], right[row] = schedule.left[numbers[0]], schedule.right[numbers[0]]
    frames = np.asarray(interpolate(keyframes[left], keyframes[right], times))
    return {
        int(number): frames[row, place] for row, numbers in enumerate(group) for place, number in enumerate(numbers)
    }
