"""Which unit a keyframe shows and when, and which two keyframes every frame of the video lies between.

Frame f is centred at (f + 0.5) / fps, and a clip has round(seconds * fps) frames. A keyframe is the middle of its unit.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int32

from actavatar_jax.avatarsync.units.table import SILENCE, unit_table
from actavatar_jax.avatarsync.units.units import Unit
from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS

ALLOCATIONS = ("dynamic", "fixed", "random")
CLOSEST = 0.08  # seconds between keyframes, but for units that are always seen
LONG_PAUSE, LIPS_CLOSE = 0.3, 0.1  # seconds; in longer pauses lips shut so long after the beginning, open so before


@dataclasses.dataclass(frozen=True)
class Keyframe:
    """`unit` is the number of a unit in the list, `name` its name (silence at the ends of a clip may be of none, -1).

    `time` is in frames from the centre of frame 0 on: whole where it is snapped.
    """

    unit: int
    name: str
    time: float


@dataclasses.dataclass(frozen=True, eq=False)
class Schedule:
    """Frame f shows `keyframes[left[f]]` where `t[f]` is 0, else what lies between it and `keyframes[right[f]]`."""

    keyframes: tuple[Keyframe, ...]
    left: Int32[np.ndarray, " F"]
    right: Int32[np.ndarray, " F"]
    t: Float32[np.ndarray, " F"]

    @property
    def ids(self) -> Int32[np.ndarray, " T"]:
        """The unit of every keyframe, as the keyframe transformer takes it."""
        return np.asarray([unit_table().id(keyframe.name) for keyframe in self.keyframes], np.int32)


def schedule(
    units: Sequence[Unit],
    seconds: float,
    fps: int = FPS,
    *,
    allocation: str = "dynamic",
    snap: bool = True,
    rng: np.random.Generator | None = None,
) -> Schedule:
    """Keyframes of units and the frames between them, for a clip of `seconds`.

    Args:
      units: from 0 on, without gaps.
      seconds: how long the clip is; beyond the units the lips are shut.
      fps: frames per second.
      allocation: how many frames lie between neighbours: dynamic, as their times say; fixed, everywhere the same (the
        rest before the last); random. The last two keep the order and not the times: they are the paper's ablations.
      snap: keyframes lie on frames, at most half a frame off, so that each is seen; else where their middles are.
      rng: of random.

    Raises:
      InputError: another allocation, random without `rng`, fixed or random without `snap`, or a clip of no frame.
    """
    frames = math.floor(seconds * fps + 0.5)
    if allocation not in ALLOCATIONS:
        raise InputError(f"The allocation is {allocation!r}; accepted is {', '.join(ALLOCATIONS)}.")
    if frames < 1:
        raise InputError(f"A clip of {seconds:g} s has no frame at {fps} frames per second; accepted is one or more.")
    if allocation != "dynamic" and not snap:
        raise InputError(f"The allocation {allocation} moves keyframes from frame to frame; accepted with it is snap.")
    if allocation == "random" and rng is None:
        raise InputError("The allocation random takes an rng to draw with.")
    keyframes = _thinned(_with_ends(_candidates(units, fps), frames, snap), max(1, round(CLOSEST * fps)))
    if allocation != "dynamic":
        times = np.cumsum([0, *_intervals(allocation, len(keyframes) - 1, frames - 1, rng)])
        keyframes = [dataclasses.replace(k, time=float(t)) for k, t in zip(keyframes, times, strict=True)]
    return _between(tuple(keyframes), frames)


def exchange_unit(plan: Schedule, unit: int, name: str, level: str = "phonemes") -> Schedule:
    """The same keyframes at the same times, but for what those of the unit with this number show.

    Raises:
      InputError: a name that is no unit's of this level, or a unit that no keyframe shows.
    """
    unit_table().check_name(name, level)
    if all(keyframe.unit != unit for keyframe in plan.keyframes):
        raise InputError(f"Unit {unit} has no keyframe; those that have one are {shown_units(plan)}.")
    changed = tuple(dataclasses.replace(k, name=name) if k.unit == unit else k for k in plan.keyframes)
    return _between(changed, len(plan.t))


def shown_units(plan: Schedule) -> str:
    """The units that have a keyframe, as `number name`."""
    return ", ".join(dict.fromkeys(f"{k.unit} {k.name}" for k in plan.keyframes if k.unit >= 0))


def _candidates(units: Sequence[Unit], fps: int) -> list[Keyframe]:
    """In the middle of every unit; two in a long pause, between which the lips stay as they are."""
    keyframes = []
    for number, unit in enumerate(units):
        times = [(unit.start + unit.end) / 2]
        if unit.name == SILENCE and unit.end - unit.start > LONG_PAUSE:
            times = [unit.start + LIPS_CLOSE, unit.end - LIPS_CLOSE]
        keyframes += [Keyframe(number, unit.name, time * fps - 0.5) for time in times]
    return keyframes


def _with_ends(keyframes: list[Keyframe], frames: int, snap: bool) -> list[Keyframe]:
    """Within the clip, on frames if they snap, with shut lips in the first and the last frame."""
    last = frames - 1
    # A middle between two frames goes to the later one, as a half is rounded up elsewhere.
    placed = [
        dataclasses.replace(k, time=float(min(max(math.floor(k.time + 0.5), 0), last)) if snap else k.time)
        for k in keyframes
        if k.time <= last + 0.5
    ]
    ends = [Keyframe(-1, SILENCE, float(time)) for time in dict.fromkeys((0, last))]
    return sorted([*placed, *ends], key=lambda keyframe: (keyframe.time, keyframe.unit < 0))


def _thinned(keyframes: list[Keyframe], closest: int) -> list[Keyframe]:
    """At most one on a frame, and at most one in `closest` frames but for those that are always seen.

    What must be seen is chosen first, then the others by rank and in order; where two are equal the first one stays.
    """
    table = unit_table()
    kept: list[Keyframe] = []
    for keyframe in sorted(keyframes, key=lambda k: table.rank(k.name)):
        distance = 1e-6 if keyframe.name in table.never_dropped else closest - 1e-6
        nearest = min((abs(keyframe.time - other.time) for other in kept), default=math.inf)
        if nearest >= distance:
            kept.append(keyframe)
    return sorted(kept, key=lambda keyframe: keyframe.time)


def _intervals(allocation: str, count: int, total: int, rng: np.random.Generator | None) -> list[int]:
    """`count` whole numbers above 0 whose sum is `total`."""
    if count == 0:
        return []
    if allocation == "fixed":
        return [*[total // count] * (count - 1), total - total // count * (count - 1)]
    cuts = np.sort(rng.choice(np.arange(1, total), count - 1, replace=False))
    return [int(step) for step in np.diff([0, *cuts, total])]


def _between(keyframes: tuple[Keyframe, ...], frames: int) -> Schedule:
    """Before the first keyframe and behind the last, and within a pause, a keyframe is held."""
    times = np.asarray([keyframe.time for keyframe in keyframes])
    frame = np.arange(frames)
    left = np.clip(np.searchsorted(times, frame + 1e-6) - 1, 0, len(times) - 1)
    right = np.minimum(left + 1, len(times) - 1)
    span = np.where(right > left, times[right] - times[left], 1.0)
    silent = np.asarray([keyframe.name == SILENCE for keyframe in keyframes])
    held = (right == left) | (silent[left] & silent[right])
    t = np.where(held, 0.0, np.clip((frame - times[left]) / span, 0, 1))
    t[np.abs(t) < 1e-6] = 0
    return Schedule(keyframes, left.astype(np.int32), right.astype(np.int32), t.astype(np.float32))
