"""A presenter drawn with Pillow: who it is (`Identity`), how it stands (`Pose`), and the frames (`draw`).

Everything is drawn three or four times too large and averaged.
"""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from actavatar_jax.puppets.world.head import draw_hair_behind, draw_head
from actavatar_jax.puppets.world.identity import Colour, Identity, Number, blend, shade
from actavatar_jax.puppets.world.pen import WHITE, Palette, Pen
from actavatar_jax.puppets.world.pose import (
    HAND,
    SHOULDER_Y,
    SHRUG,
    SIDES,
    Point,
    Pose,
    arm_points,
    hand_position,
    mouth_position,
    place_body,
    place_head,
)

__all__ = ["draw", "hand_position", "mouth_box", "mouth_position"]

MOUTH_BOX = (0.012, 0.072, 0.065)  # above and below the upper lip, and to both sides: always skin around the lips


def draw(identity: Identity, poses: Iterable[Pose], side: int = 64) -> UInt8[np.ndarray, "F side side 3"]:
    """One picture of `side` by `side` pixels for every pose."""
    palette = Palette.of(identity)
    times = 4 if side <= 64 else 3  # too large; more would cost more than anybody sees
    wall = Image.new("RGB", (side * times, side * times))
    _draw_wall(Pen(wall), identity, palette)
    frames = []
    for pose in poses:
        image = wall.copy()
        body, head = Pen(image, place_body(identity, pose)), Pen(image, place_head(identity, pose))
        draw_hair_behind(head, identity, palette, pose)
        _draw_body(body, identity, palette, pose)
        draw_head(head, identity, palette, pose)
        for name in SIDES:
            _draw_arm(body, identity, palette, pose, name)
        frames.append(np.asarray(image.reduce(times)))
    return np.stack(frames)


def mouth_box(identity: Identity, side: int) -> tuple[slice, slice]:
    """Rows and columns of a frame that the mouth changes as it opens, within the resting face: for measuring it.

    Idle swaying keeps the mouth there; nods, shakes, tilts and leans take it out, `mouth_position` follows them.
    """
    middle = mouth_position(identity, Pose())
    top, bottom, half = (length * identity.scale for length in MOUTH_BOX)
    rows = slice(math.floor((middle.imag - top) * side), math.ceil((middle.imag + bottom) * side))
    return rows, slice(math.floor((middle.real - half) * side), math.ceil((middle.real + half) * side))


# ---- parts, back to front


def _draw_wall(pen: Pen, identity: Identity, palette: Palette) -> None:
    wall = palette.wall
    dark, light = shade(wall, 0.8), blend(wall, WHITE, 0.4)

    def box(left: Number, top: Number, right: Number, bottom: Number, colour: Colour) -> None:
        pen.polygon([left + 1j * top, right + 1j * top, right + 1j * bottom, left + 1j * bottom], colour)

    box(0, 0, 1, 1, wall)
    match identity.wall:
        case "picture":
            box(0.05, 0.08, 0.24, 0.3, dark)
            box(0.075, 0.105, 0.215, 0.275, light)
        case "window":
            box(0.74, 0.04, 0.97, 0.4, light)
            box(0.76, 0.06, 0.95, 0.38, (206, 228, 246))
            box(0.845, 0.04, 0.865, 0.4, light)
        case "shelf":
            for y in (0.2, 0.42):
                box(0, y, 0.26, y + 0.025, dark)
                for x, colour in ((0.03, dark), (0.08, light), (0.13, (170, 90, 80)), (0.19, (80, 100, 150))):
                    box(x, y - 0.11 - x / 8, x + 0.035, y, colour)
        case "striped":
            for k in range(7):
                box(k / 7, 0, (k + 0.5) / 7, 1, light)
        case "panelled":
            box(0, 0.62, 1, 1, dark)
            for k in range(1, 6):
                box(k / 6 - 0.006, 0.62, k / 6 + 0.006, 1, shade(wall, 0.65))


def _draw_body(pen: Pen, identity: Identity, palette: Palette, pose: Pose) -> None:
    x, y = identity.shoulder, SHOULDER_Y - SHRUG * pose.shrug
    waist = x - 0.012
    half = [0.05 + 1j * (y - 0.07), x + 1j * (y - 0.045), x + 0.035 + 1j * y, x + 0.012 + 0.72j, waist + 1.1j]
    pen.line([0.4j, 0.53j], 0.1, palette.skin_shadow)
    pen.polygon(half + [-point.conjugate() for point in reversed(half)], palette.clothes)
    _draw_pattern(pen, identity, palette, x)
    match identity.clothes:
        case "T-shirt" | "sweater":
            depth = 0.56 if identity.clothes == "T-shirt" else 0.535
            pen.oval(1j * (depth - 0.04), 0.065, 0.05, palette.clothes_shadow)
            pen.oval(1j * (depth - 0.055), 0.05, 0.045, palette.skin_shadow)
        case "shirt":
            pen.polygon([-0.05 + 0.5j, 0.05 + 0.5j, 0.58j], palette.skin_shadow)
            pen.line([-0.055 + 0.505j, 0.59j, 0.055 + 0.505j], 0.025, palette.pattern)
            for row in range(5):
                pen.disc(1j * (0.64 + 0.08 * row), 0.011, palette.clothes_edge)
        case "jacket":
            pen.polygon([-0.055 + 0.5j, 0.055 + 0.5j, 0.85j], WHITE)
            pen.polygon([-0.014 + 0.55j, 0.014 + 0.55j, 0.022 + 0.72j, 0.78j, -0.022 + 0.72j], palette.clothes_edge)
            pen.line([-0.06 + 0.505j, 0.86j, 0.06 + 0.505j], 0.03, palette.clothes_shadow)


def _draw_pattern(pen: Pen, identity: Identity, palette: Palette, x: Number) -> None:
    rows = [0.64 + 0.075 * k for k in range(6)]
    if identity.pattern in ("striped", "checked"):
        width = 0.03 if identity.pattern == "striped" else 0.014
        for y in rows:
            pen.line([-x + 0.01 + 1j * y, x - 0.01 + 1j * y], width, palette.pattern)
    if identity.pattern == "checked":
        for k in (-2, -1, 1, 2):
            pen.line([k * 0.06 + 0.58j, k * 0.06 + 1.1j], 0.014, palette.pattern)
    if identity.pattern == "dotted":
        for row, y in enumerate(rows):
            for k in range(-2, 2):
                pen.disc((k + 0.25 + 0.5 * (row % 2)) * 0.075 + 1j * y, 0.013, palette.pattern)


def _draw_arm(pen: Pen, identity: Identity, palette: Palette, pose: Pose, name: str) -> None:
    shoulder, elbow, hand = arm_points(identity, pose, name)
    bare = identity.clothes == "T-shirt"
    cuff = elbow + 0.82 * (hand - elbow)
    pen.line([shoulder, elbow, cuff], 0.098, palette.clothes_edge)
    if bare:
        pen.line([elbow, cuff], 0.07, palette.skin)
        pen.line([shoulder, elbow], 0.078, palette.clothes_shadow)
    else:
        pen.line([shoulder, elbow, cuff], 0.078, palette.clothes_shadow)
    along = (hand - elbow) / abs(hand - elbow)
    _draw_hand(pen, palette, hand, along, getattr(pose, name).fingers, SIDES[name])


# Degrees from the forearm's direction, towards the thumb: index, middle, ring and little finger, thumb; their lengths.
_FINGERS = ((14, 0.066), (-6, 0.072), (-26, 0.066), (-46, 0.056), (58, 0.05))


def _draw_hand(pen: Pen, palette: Palette, hand: Point, along: Point, fingers: Number, outward: int) -> None:
    """A palm with as many fingers as are stretched. Edges first, so that fingers and palm flow into one another."""
    tips = []
    for k, (degrees, length) in enumerate(_FINGERS):
        stretched = min(max(fingers - k, 0.0), 1.0)
        if stretched > 0.05:
            angle = -outward * math.radians(degrees if fingers > 1.5 else 0)
            if fingers <= 1.5:
                length *= 1.6  # the pointing finger is what there is to see
            tips.append(hand + along * complex(math.cos(angle), math.sin(angle)) * (HAND * 0.7 + length * stretched))
    for tip in tips:
        pen.line([hand, tip], 0.044, palette.skin_edge)
    pen.disc(hand, HAND, palette.skin_edge)
    for tip in tips:
        pen.line([hand, tip], 0.026, palette.skin)
    pen.disc(hand, HAND - 0.01, palette.skin)
