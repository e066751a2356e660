"""What a presenter can do: every action's movement, and the words for it.

Each is seen from pixels alone, at 64 of them and within half a second. Arms are given as `Arm(shoulder, elbow,
fingers)` in degrees; left and right are the presenter's own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from actavatar_jax.puppets.world.identity import Number
from actavatar_jax.puppets.world.pose import Arm, Pose
from actavatar_jax.puppets.world.wordings import WORDINGS, find_action, nearest_action

__all__ = ["ACTIONS", "Action", "find_action", "nearest_action"]

Target = Callable[[Number, Number], dict[str, Number | Arm]]  # (time in the window, its length) -> parts of the pose

BEATS = 2.0  # nods, claps, waves and shakes in a second


@dataclass(frozen=True)
class Action:
    """Ways to say it, and where it takes parts of the pose at a time of its window."""

    wordings: tuple[str, ...]
    target: Target

    def apply(self, pose: Pose, t: Number, length: Number, strength: Number) -> Pose:
        """The pose on its way (strength 0 to 1) to the action, `t` seconds into a window of `length` seconds."""
        parts = self.target(t, length)
        return replace(pose, **{name: toward(getattr(pose, name), part, strength) for name, part in parts.items()})


def toward(start: Number | Arm, target: Number | Arm, share: Number) -> Number | Arm:
    """From `start` (share 0) to `target` (share 1), number by number."""
    if isinstance(start, Arm):
        pairs = ((getattr(start, f.name), getattr(target, f.name)) for f in fields(Arm))
        return Arm(*(a + share * (b - a) for a, b in pairs))
    return start + share * (target - start)


# ---- movements


def _still(**parts: Number | Arm) -> Target:
    return lambda t, length: parts


def _swing(t: Number) -> float:
    """-1 to 1 and back, twice a second."""
    return math.sin(2 * math.pi * BEATS * t)


def _beat(t: Number) -> float:
    """0 to 1 and back, twice a second: at its height in the middle of a window of half a second."""
    return 0.5 - 0.5 * math.cos(2 * math.pi * BEATS * t)


def _wave(side: str) -> Target:
    return lambda t, length: {side: Arm(78.0, 102.0 + 30.0 * _swing(t), 5.0)}


def _shake(t: Number, length: Number) -> dict[str, Number | Arm]:
    """The head stays a moment at either side, which makes half a second of it plain."""
    return {"head_turn": min(max(1.7 * _swing(t), -1.0), 1.0), "gaze": 0.0}


def _point_up(t: Number, length: Number) -> dict[str, Number | Arm]:
    return {"right": Arm(45.0, 138.0, 1.0), "head_nod": -0.9, "brows": 1.0}


def _clap(t: Number, length: Number) -> dict[str, Number | Arm]:
    apart, together = Arm(76.0, -150.0), Arm(24.0, -128.0)
    hand = toward(apart, together, _beat(t))
    return {"left": hand, "right": hand}


def _count(t: Number, length: Number) -> dict[str, Number | Arm]:
    """From one finger to five over the window, one after the other."""
    return {"left": Arm(38.0, 140.0, 1.0 + min(int(5 * t / length), 4))}


_UP = Arm(155.0, 10.0, 5.0)
_ASIDE = Arm(-6.0, 104.0, 1.0)
_HIP = Arm(55.0, -103.0)
_PALM_OUT = Arm(6.0, 66.0, 5.0)
_WIDE = Arm(60.0, 85.0, 5.0)

_TARGETS: dict[str, Target] = {
    "raise_left": _still(left=_UP),
    "raise_right": _still(right=_UP),
    "wave_left": _wave("left"),
    "wave_right": _wave("right"),
    "point_up": _point_up,
    "point_down": _still(right=Arm(90.0, -95.0, 1.0), head_nod=0.9),
    "point_left": _still(left=_ASIDE, head_turn=0.8, gaze=1.0),
    "point_right": _still(right=_ASIDE, head_turn=-0.8, gaze=-1.0),
    "open_arms": _still(left=_WIDE, right=_WIDE),
    "clap": _clap,
    "hand_on_chest": _still(right=Arm(0.0, -106.0, 5.0), head_tilt=-0.35),
    "nod": lambda t, length: {"head_nod": _beat(t)},
    "shake_head": _shake,
    "tilt_head": _still(head_tilt=1.0),
    "lean_left": _still(lean=1.0),
    "lean_right": _still(lean=-1.0),
    "count_fingers": _count,
    "shrug": _still(shrug=1.0, left=_PALM_OUT, right=_PALM_OUT, head_tilt=0.4, brows=1.0),
    "hands_on_hips": _still(left=_HIP, right=_HIP),
    "raise_both": _still(left=_UP, right=_UP),
}
ACTIONS: dict[str, Action] = {name: Action(WORDINGS[name], target) for name, target in _TARGETS.items()}
