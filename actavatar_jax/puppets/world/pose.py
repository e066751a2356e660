"""How a presenter stands at one moment (`Pose`), and where that puts joints, hands and mouth.

Points are complex numbers, x + iy. On the figure x counts from its middle to the viewer's right and y down from the
picture's top to 1 at its bottom; in the picture both are fractions of its side. Left and right are the presenter's
own: the left arm is on the viewer's right, where `outward` is +1.
"""

import cmath
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from actavatar_jax.puppets.world.identity import Identity, Number

Point = complex | float | int

SIDES = {"left": 1, "right": -1}  # outward directions
HEAD, NECK, WAIST = 0.275j, 0.44j, 1.1j
HEAD_RADII = (0.15, 0.18)
SHOULDER_Y, UPPER_ARM, FOREARM = 0.575, 0.19, 0.185
HAND = 0.064  # radius
MOUTH = 0.082  # below the middle of the head: the upper lip
TILT, TURN, LEAN = 24.0, 30.0, 9.0  # degrees at 1
NOD, NOD_DROP = 20.0, 0.035  # degrees of rotation, and how far the head comes down
SHRUG, SINK = 0.08, 0.035  # how far shoulders rise and the head sinks

JOINTS = (
    "left_shoulder", "left_elbow", "left_fingers", "right_shoulder", "right_elbow", "right_fingers",
    "head_tilt", "head_nod", "head_turn", "lean", "shrug",
    "left_hand_x", "left_hand_y", "right_hand_x", "right_hand_y", "mouth_x", "mouth_y",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arm:
    """Degrees: `shoulder` from straight down outward to 180 up, `elbow` the bend on from there. Fingers 0 to 5.

    Negative bends bring the forearm inward. Between whole numbers of fingers the last one is partly stretched.
    """

    shoulder: Number = 14.0
    elbow: Number = -18.0
    fingers: Number = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """One moment. Mouth, blink and shrug are 0 to 1, the others -1 to 1, positive to the presenter's left or down."""

    mouth_opening: Number = 0.0
    mouth_width: Number = 0.5
    brows: Number = 0.0  # 1 raised
    blink: Number = 0.0
    gaze: Number = 0.0
    head_tilt: Number = 0.0
    head_nod: Number = 0.0
    head_turn: Number = 0.0
    lean: Number = 0.0
    shrug: Number = 0.0
    left: Arm = Arm()
    right: Arm = Arm()


class Placing(NamedTuple):
    """Turns, scales and moves points: `placing(z)` is `turn * z + origin`."""

    turn: Point
    origin: Point

    def __call__(self, point: Point) -> Point:
        return self.turn * point + self.origin

    def within(self, degrees: Number, pivot: Point, shift: Point) -> "Placing":
        """The placing of a part that is turned around `pivot` of its whole, then shifted."""
        turn = cmath.rect(1.0, math.radians(degrees))
        return Placing(self.turn * turn, self.turn * (pivot + shift - turn * pivot) + self.origin)


def place_body(identity: Identity, pose: Pose) -> Placing:
    """From the figure's body to the picture; the figure stands on the picture's lower edge."""
    standing = Placing(complex(identity.scale), 0.5 + identity.shift + 1j * (1 - identity.scale))
    return standing.within(LEAN * pose.lean, WAIST, 0)


def place_head(identity: Identity, pose: Pose) -> Placing:
    """From the figure's head to the picture. Features move on the head besides, see `on_face`."""
    shift = 1j * (NOD_DROP * pose.head_nod + SINK * pose.shrug)
    return place_body(identity, pose).within(TILT * pose.head_tilt, NECK, shift)


def on_face(pose: Pose, point: Point) -> tuple[complex, float]:
    """Where a feature at `point` from the middle of the head goes on the turned head, and its width there (to 1)."""
    across = math.asin(point.real / HEAD_RADII[0]) + math.radians(TURN * pose.head_turn)
    along = math.asin(point.imag / HEAD_RADII[1]) + math.radians(NOD * pose.head_nod)
    return HEAD + complex(HEAD_RADII[0] * math.sin(across), HEAD_RADII[1] * math.sin(along)), math.cos(across)


def arm_points(identity: Identity, pose: Pose, side: str) -> tuple[complex, complex, complex]:
    """Shoulder, elbow and hand on the figure."""
    arm, outward = getattr(pose, side), SIDES[side]
    shoulder = complex(outward * identity.shoulder, SHOULDER_Y - SHRUG * pose.shrug)
    elbow = shoulder + UPPER_ARM * _direction(arm.shoulder, outward)
    return shoulder, elbow, elbow + FOREARM * _direction(arm.shoulder + arm.elbow, outward)


def hand_position(identity: Identity, pose: Pose, side: str) -> complex:
    """Middle of the hand of `side` ("left" or "right") in the picture."""
    return place_body(identity, pose)(arm_points(identity, pose, side)[2])


def mouth_position(identity: Identity, pose: Pose) -> complex:
    """Middle of the closed mouth in the picture."""
    return place_head(identity, pose)(on_face(pose, MOUTH * 1j)[0])


def joints(identity: Identity, pose: Pose) -> Float[np.ndarray, " J"]:
    """The values that `JOINTS` names: degrees, fingers, the head's and body's -1 to 1, places in the picture."""
    arms = [value for arm in (pose.left, pose.right) for value in (arm.shoulder, arm.elbow, arm.fingers)]
    body = [pose.head_tilt, pose.head_nod, pose.head_turn, pose.lean, pose.shrug]
    places = [hand_position(identity, pose, side) for side in SIDES] + [mouth_position(identity, pose)]
    return np.array([*arms, *body, *(value for z in places for value in (z.real, z.imag))], np.float32)


def _direction(degrees: Number, outward: int) -> complex:
    return complex(outward * math.sin(math.radians(degrees)), math.cos(math.radians(degrees)))
