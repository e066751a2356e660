"""A presenter drawn with Pillow: who it is (`Identity`), how it stands (`Pose`), and the frames (`draw`).

Lengths are fractions of the picture's side, x to the right and y down. Everything is drawn four times too large and
averaged. Left and right are the presenter's own: the left arm is on the viewer's right.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float | int, float | int]

SUPERSAMPLING = 4
HEAD, HEAD_RADII = (0.5, 0.31), (0.165, 0.2)
MOUTH_TOP, MOUTH_WIDTH, MOUTH_HEIGHTS = 0.385, 0.18, (0.02, 0.11)  # closed and fully open
LIP = 0.013
SHOULDER_X, SHOULDER_Y = 0.2, 0.645  # x: distance from the middle
UPPER_ARM, FOREARM, HAND = 0.17, 0.18, 0.062
SWAY = 0.012  # how far the head moves sideways at most

SKINS = ((246, 214, 190), (232, 190, 152), (208, 158, 118), (172, 120, 84), (134, 90, 62))
HAIRS = {
    "black": (44, 38, 40),
    "brown": (104, 66, 40),
    "blonde": (222, 184, 104),
    "red": (168, 74, 38),
    "grey": (158, 156, 158),
}
SHIRTS = {
    "red": (196, 52, 58),
    "blue": (52, 92, 184),
    "green": (58, 138, 84),
    "yellow": (232, 188, 60),
    "purple": (122, 72, 158),
}
WALLS = {
    "grey": (186, 190, 196),
    "cream": (238, 226, 200),
    "teal": (120, 178, 176),
    "pink": (234, 190, 192),
    "navy": (70, 84, 124),
}


@dataclass(frozen=True)
class Identity:
    """How a presenter looks. Hair, shirt and wall are named (for the prompt) and vary a little within the name."""

    hair_name: str
    shirt_name: str
    wall_name: str
    skin: Colour
    hair: Colour
    shirt: Colour
    wall: Colour
    long_hair: bool

    @classmethod
    def from_seed(cls, seed: int) -> "Identity":
        rng = np.random.default_rng([seed, 1])
        names = [str(rng.choice(list(palette))) for palette in (HAIRS, SHIRTS, WALLS)]
        bases = [SKINS[rng.integers(len(SKINS))], HAIRS[names[0]], SHIRTS[names[1]], WALLS[names[2]]]
        colours = [_shade(base, rng.uniform(0.93, 1.07)) for base in bases]
        return cls(*names, *colours, long_hair=bool(rng.integers(2)))


@dataclass(frozen=True)
class Arm:
    """Directions in degrees from straight down, outward positive, 180 is up: of the upper arm and of the forearm."""

    shoulder: float = 12.0
    forearm: float = -78.0


@dataclass(frozen=True)
class Pose:
    """One moment: `mouth` from 0 closed to 1 open, arms at rest before the belly, head `sway` from -1 to 1."""

    mouth: float = 0.0
    left: Arm = Arm()
    right: Arm = Arm()
    sway: float = 0.0
    blink: bool = False
    finger: bool = False  # the right hand points


def draw(identity: Identity, poses: Iterable[Pose], side: int = 64) -> UInt8[np.ndarray, "F side side 3"]:
    """One picture of `side` by `side` pixels for every pose."""
    scene = _Canvas(side)
    _draw_wall(scene, identity)
    frames = []
    for pose in poses:
        canvas = _Canvas(side, scene.image.copy())
        lean = pose.sway * SWAY
        _draw_body(canvas, identity, lean)
        _draw_head(canvas, identity, pose, lean)
        _draw_arm(canvas, identity, pose.left, 1, lean)
        _draw_arm(canvas, identity, pose.right, -1, lean, pose.finger)
        frames.append(np.asarray(canvas.image.reduce(SUPERSAMPLING)))
    return np.stack(frames)


def mouth_box(side: int) -> tuple[slice, slice]:
    """Rows and columns of a frame that hold the mouth, open or closed, wherever the head sways."""
    half = MOUTH_WIDTH / 2 + SWAY
    rows = slice(math.floor((MOUTH_TOP - LIP) * side), math.ceil((MOUTH_TOP + MOUTH_HEIGHTS[1] + LIP) * side))
    return rows, slice(math.floor((HEAD[0] - half) * side), math.ceil((HEAD[0] + half) * side))


def hand_position(arm: Arm, outward: int) -> Point:
    """Where the hand is; `outward` is 1 for the left arm (drawn on the right) and -1 for the right one."""
    return _arm_points(arm, outward)[2]


# ---- parts, back to front


def _draw_wall(canvas: "_Canvas", identity: Identity) -> None:
    canvas.rectangle((0, 0), (1, 1), identity.wall)
    canvas.rectangle((0, 0.84), (1, 1), _shade(identity.wall, 0.8))
    canvas.rectangle((0.06, 0.08), (0.24, 0.3), _shade(identity.wall, 1.25))
    canvas.rectangle((0.085, 0.105), (0.215, 0.275), _shade(identity.wall, 0.88))


def _draw_body(canvas: "_Canvas", identity: Identity, lean: float) -> None:
    x = HEAD[0]
    if identity.long_hair:
        canvas.ellipse((x + lean, 0.4), (0.215, 0.25), _shade(identity.hair, 0.85))
    canvas.limb((x + lean, 0.45), (x, 0.6), 0.1, _shade(identity.skin, 0.85))
    canvas.ellipse((x, 0.7), (SHOULDER_X + 0.03, 0.13), identity.shirt)
    canvas.polygon([(x - 0.21, 0.68), (x + 0.21, 0.68), (x + 0.2, 1.0), (x - 0.2, 1.0)], identity.shirt)
    canvas.polygon([(x - 0.055, 0.56), (x + 0.055, 0.56), (x, 0.68)], _shade(identity.skin, 0.85))


def _draw_head(canvas: "_Canvas", identity: Identity, pose: Pose, lean: float) -> None:
    x, y = HEAD[0] + lean, HEAD[1]
    width, height = HEAD_RADII
    canvas.ellipse((x, y - 0.045), (width + 0.03, height - 0.005), identity.hair)
    for ear in (-1, 1):
        canvas.ellipse((x + ear * width, y + 0.02), (0.03, 0.04), _shade(identity.skin, 0.9))
    canvas.ellipse((x, y), (width, height), identity.skin)
    canvas.ellipse((x, y + 0.06 + 0.03 * pose.mouth), (0.13, 0.14), identity.skin)  # the jaw
    for cheek in (-0.115, 0.115):
        canvas.ellipse((x + cheek, y + 0.06), (0.032, 0.024), _blend(identity.skin, (226, 84, 84), 0.22))
    canvas.chord((x, y - 0.055), (width + 0.005, height - 0.045), identity.hair)
    for eye in (-0.07, 0.07):
        _draw_eye(canvas, identity, (x + eye, y - 0.005), pose.blink)
    canvas.limb((x, y + 0.025), (x, y + 0.055), 0.022, _shade(identity.skin, 0.86))
    _draw_mouth(canvas, identity, x, pose.mouth)


def _draw_eye(canvas: "_Canvas", identity: Identity, centre: Point, closed: bool) -> None:
    x, y = centre
    canvas.limb((x - 0.03, y - 0.052), (x + 0.03, y - 0.052), 0.013, _shade(identity.hair, 0.75))
    if closed:
        canvas.limb((x - 0.026, y), (x + 0.026, y), 0.012, _shade(identity.skin, 0.6))
    else:
        canvas.ellipse(centre, (0.035, 0.028), (250, 250, 250))
        canvas.ellipse(centre, (0.022, 0.026), (46, 38, 44))
        canvas.ellipse((x + 0.007, y - 0.009), (0.007, 0.007), (250, 250, 250))


def _draw_mouth(canvas: "_Canvas", identity: Identity, x: float, opening: float) -> None:
    """Lips around a dark interior. The upper lip stays, the lower one falls, as a jaw does."""
    closed, wide = MOUTH_HEIGHTS
    height = closed + (wide - closed) * opening
    centre = (x, MOUTH_TOP + height / 2)
    lips = _blend(identity.skin, (170, 40, 56), 0.4)
    canvas.ellipse(centre, (MOUTH_WIDTH / 2, height / 2 + LIP), lips)
    canvas.ellipse(centre, (MOUTH_WIDTH / 2 - 0.014, max(height / 2 - 0.004, 0.005)), (52, 14, 22))


def _draw_arm(canvas: "_Canvas", identity: Identity, arm: Arm, outward: int, lean: float, finger: bool = False) -> None:
    shoulder, elbow, hand = _arm_points(arm, outward)
    sleeve = _shade(identity.shirt, 0.84)
    canvas.limb(shoulder, elbow, 0.1, sleeve)
    canvas.limb(elbow, hand, 0.08, sleeve)
    if finger:
        (ex, ey), (hx, hy) = elbow, hand
        tip = (hx + (hx - ex) * 0.7, hy + (hy - ey) * 0.7)
        canvas.limb(hand, tip, 0.045, _shade(identity.skin, 0.72))
        canvas.limb(hand, tip, 0.03, identity.skin)
    canvas.ellipse(hand, (HAND + 0.008, HAND + 0.008), _shade(identity.skin, 0.72))
    canvas.ellipse(hand, (HAND, HAND), identity.skin)


def _arm_points(arm: Arm, outward: int) -> tuple[Point, Point, Point]:
    points = [(HEAD[0] + outward * SHOULDER_X, SHOULDER_Y)]
    for length, degrees in ((UPPER_ARM, arm.shoulder), (FOREARM, arm.forearm)):
        x, y = points[-1]
        angle = math.radians(degrees)
        points.append((x + outward * length * math.sin(angle), y + length * math.cos(angle)))
    return tuple(points)


# ---- tools


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, int(channel * factor)) for channel in colour)


def _blend(colour: Colour, other: Colour, share: float) -> Colour:
    return tuple(int((1 - share) * a + share * b) for a, b in zip(colour, other, strict=True))


class _Canvas:
    """Pillow's shapes in fractions of the side."""

    def __init__(self, side: int, image: Image.Image | None = None):
        self.scale = side * SUPERSAMPLING
        self.image = image or Image.new("RGB", (self.scale, self.scale))
        self.pen = ImageDraw.Draw(self.image)

    def _scaled(self, points: Iterable[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def _around(self, centre: Point, radii: Point) -> list[Point]:
        (x, y), (a, b) = centre, radii
        return self._scaled([(x - a, y - b), (x + a, y + b)])

    def ellipse(self, centre: Point, radii: Point, colour: Colour) -> None:
        self.pen.ellipse(self._around(centre, radii), fill=colour)

    def chord(self, centre: Point, radii: Point, colour: Colour) -> None:
        """The upper cap of an ellipse."""
        self.pen.chord(self._around(centre, radii), 195, 345, fill=colour)

    def rectangle(self, low: Point, high: Point, colour: Colour) -> None:
        self.pen.rectangle(self._scaled([low, high]), fill=colour)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        self.pen.polygon(self._scaled(points), fill=colour)

    def limb(self, start: Point, end: Point, width: float, colour: Colour) -> None:
        """A line with round ends."""
        self.pen.line(self._scaled([start, end]), fill=colour, width=round(width * self.scale))
        for point in (start, end):
            self.ellipse(point, (width / 2, width / 2), colour)
