"""The presenter's head: hair, ears, face, eyes that look and blink, and the mouth."""

import numpy as np

from actavatar_jax.puppets.world.identity import Identity, Number
from actavatar_jax.puppets.world.pen import Palette, Pen, cap
from actavatar_jax.puppets.world.pose import HEAD, HEAD_RADII, MOUTH, Pose, on_face

MOUTH_HEIGHT = 0.1  # of the fully open mouth
MOUTH_WIDTHS = (0.056, 0.116)  # half of it: rounded and spread
LIP = 0.012
CLOSED = 0.006  # the dark line between closed lips
JAW_DROP = 0.05
JAW = 0.86 * HEAD_RADII[0]  # half of its width
CHIN = HEAD_RADII[1] + JAW_DROP - MOUTH  # where it is below the fully open mouth's upper lip


def draw_hair_behind(pen: Pen, identity: Identity, palette: Palette, pose: Pose) -> None:
    """What falls behind the shoulders or stands off the head; a part of it shows beside and above the face."""
    across, along = HEAD_RADII
    match identity.hair_style:
        case "long":
            pen.oval(0.34j, 0.2, 0.235, palette.hair_shadow)
        case "curly":
            for angle in np.linspace(150, 390, 9):
                turn = np.exp(1j * np.radians(angle))
                pen.disc(HEAD - 0.02j + 0.15 * turn.real + 0.155j * turn.imag, 0.055, palette.hair)
        case "tied-up":
            pen.disc(0.088j, 0.055, palette.hair_shadow)
        case "spiky":
            rays = np.linspace(165, 375, 15)
            radii = np.where(np.arange(15) % 2, 0.24, 0.17)
            pen.polygon(HEAD + radii * np.exp(1j * np.radians(rays)), palette.hair)
    if identity.hair_style != "shaved":
        pen.oval(HEAD - 0.03j - 0.02 * pose.head_turn, across + 0.022, along - 0.002, palette.hair)


def draw_head(pen: Pen, identity: Identity, palette: Palette, pose: Pose) -> None:
    """The head from its outline to the mouth. Features slide over it as it nods and turns."""
    across, along = HEAD_RADII
    for ear in (-1, 1):
        pen.disc(HEAD + ear * (across - 0.002) - 0.02 * pose.head_turn + 0.02j, 0.032, palette.skin_shadow)
    drop = JAW_DROP * pose.mouth_opening
    pen.oval(HEAD + 0.04j + 1j * drop + 0.015 * pose.head_turn, JAW, along - 0.04, palette.skin)
    pen.oval(HEAD, across, along, palette.skin)
    _draw_fringe(pen, identity, palette, pose)
    for cheek in (-0.1, 0.1):
        place, narrowing = on_face(pose, cheek + 0.055j)
        pen.oval(place, 0.028 * narrowing, 0.022, palette.cheek)
    for eye in (-0.062, 0.062):
        _draw_eye(pen, palette, pose, eye)
    if palette.glasses:
        _draw_glasses(pen, identity, palette, pose)
    nose, _ = on_face(pose, 0.045j)
    pen.line([nose - 0.03j, nose], 0.022, palette.skin_shadow)
    _draw_mouth(pen, palette, pose)


def _draw_fringe(pen: Pen, identity: Identity, palette: Palette, pose: Pose) -> None:
    """Hair down to the hairline, which comes down and goes up with a nod."""
    if identity.hair_style == "shaved":
        line, colour = -0.13, palette.skin_shadow
    else:
        line, colour = {"long": -0.07, "curly": -0.06}.get(identity.hair_style, -0.085), palette.hair
    hairline = on_face(pose, 1j * line)[0].imag
    pen.polygon(cap(HEAD, *HEAD_RADII, hairline), colour)


def _draw_eye(pen: Pen, palette: Palette, pose: Pose, eye: Number) -> None:
    place, narrowing = on_face(pose, eye - 0.01j)
    open_share = 1 - pose.blink
    if open_share > 0.25:
        pen.oval(place, 0.035 * narrowing, 0.028 * open_share, palette.eye)
        look = place + 0.016 * pose.gaze * narrowing + 0.008j * pose.head_nod
        pen.oval(look, 0.019 * narrowing, min(0.021, 0.026 * open_share), palette.iris)
    else:
        pen.line([place - 0.028 * narrowing, place + 0.028 * narrowing], 0.011, palette.skin_edge)
    brow = place - 1j * (0.044 + 0.022 * pose.brows)
    pen.line([brow - 0.03 * narrowing, brow + 0.03 * narrowing], 0.013, palette.brow)


def _draw_glasses(pen: Pen, identity: Identity, palette: Palette, pose: Pose) -> None:
    (left, narrow_left), (right, narrow_right) = (on_face(pose, x - 0.008j) for x in (-0.062, 0.062))
    pen.line([left + 0.05 * narrow_left, right - 0.05 * narrow_right], 0.01, palette.glasses)
    for place, narrowing in ((left, narrow_left), (right, narrow_right)):
        if identity.glasses == "round":
            pen.ring(place, 0.05, 0.011, palette.glasses)
        else:
            a, b = 0.05 * narrowing, 0.04
            corners = [complex(x, y) for x, y in ((-a, -b), (a, -b), (a, b), (-a, b), (-a, -b))]
            pen.line([place + corner for corner in corners], 0.011, palette.glasses)


def _draw_mouth(pen: Pen, palette: Palette, pose: Pose) -> None:
    """Lips around a dark interior. The upper lip stays, the lower one falls with the jaw."""
    place, narrowing = on_face(pose, MOUTH * 1j)
    rounded, spread = MOUTH_WIDTHS
    half = (rounded + (spread - rounded) * pose.mouth_width) * narrowing
    height = CLOSED + (MOUTH_HEIGHT - CLOSED) * pose.mouth_opening
    middle = place + 0.5j * height
    pen.oval(middle, half, height / 2 + LIP, palette.lips)
    inside = middle, half - 0.012, height / 2
    pen.oval(*inside, palette.mouth)
    if pose.mouth_opening > 0.2:
        pen.polygon(cap(*inside, place.imag + min(0.25 * height, 0.016)), palette.teeth)
    if pose.mouth_opening > 0.4:
        pen.polygon(cap(*inside, place.imag + 0.75 * height, upper=False), palette.tongue)
