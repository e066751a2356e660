"""Where a clip must be looked at closely: raised hands, the mouth, and what stands still.

PSNR over whole pictures says little of hands and lips, which are small, and of walls that flicker a little.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, UInt8
from PIL import Image, ImageFilter

from actavatar_jax.evaluation.measures import psnr_of
from actavatar_jax.puppets.world.clips import JOINTS, PuppetClip
from actavatar_jax.puppets.world.head import CHIN, JAW, LIP, MOUTH_HEIGHT, MOUTH_WIDTHS
from actavatar_jax.puppets.world.pose import LEAN, SIDES, TILT, Arm

__all__ = ["Regions", "psnr_of", "regions"]

Mask = Bool[np.ndarray, "F side side"]

HAND_BOX = 0.12  # half of its side, on the figure
BEYOND = 0.05  # the box's middle lies so far beyond the palm's, where fingers stretch to
ROOM = 0.08  # by how much jaw and mouth come apart as a head turns and nods
AWAY = 5.0  # degrees from rest at either joint above which an arm is not just idle
CALM = 2  # levels of 255 by which a pixel that stands still may change
EDGE = 2  # pixels around what moves that are not counted as still either


class Regions(NamedTuple):
    """Masks of every frame's pixels."""

    hands: Mask  # boxes around the hands that are away from rest, fingers included; empty where both rest
    mouth: Mask  # a box around the mouth, wherever the head goes and however far it opens
    still: Mask  # what no frame changes, away from all that moves: walls above all, calm cloth as well


def regions(clip: PuppetClip) -> Regions:
    """The regions of a drawn clip, from its joints and its frames."""
    frames, side = clip.frames.shape[:2]
    joint = dict(zip(JOINTS, clip.joints.T.astype(float), strict=True))
    hands = np.zeros((frames, side, side), bool)
    for name, outward in SIDES.items():
        shoulder, elbow, fingers = (joint[f"{name}_{part}"] for part in ("shoulder", "elbow", "fingers"))
        rest = Arm()
        away = (abs(shoulder - rest.shoulder) > AWAY) | (abs(elbow - rest.elbow) > AWAY) | (fingers > rest.fingers)
        along = 1j * np.exp(-1j * outward * np.radians(shoulder + elbow))
        middle = joint[f"{name}_hand_x"] + 1j * joint[f"{name}_hand_y"] + clip.identity.scale * BEYOND * along
        box = clip.identity.scale * HAND_BOX * np.array([-1 - 1j, 1 + 1j])
        hands |= away[:, None, None] & _boxes(middle[:, None] + box, side)

    mouth = _boxes(_around_mouth(clip, MOUTH_WIDTHS[1], -LIP, MOUTH_HEIGHT + LIP), side)
    return Regions(hands, mouth, np.broadcast_to(still_pixels(clip.frames), hands.shape))


def talking_boxes(clip: PuppetClip) -> Float[np.ndarray, "F 4"]:
    """Top, bottom, left and right, in pixels, of all that moves in every frame as the mouth opens: lips, jaw and chin.

    What a mouth says cannot be told from the picture around them.
    """
    side = clip.frames.shape[1]
    corners = side * _around_mouth(clip, JAW + ROOM, -LIP - ROOM / 2, CHIN + ROOM)
    edges = corners.imag.min(1), corners.imag.max(1), corners.real.min(1), corners.real.max(1)
    return np.stack(edges, axis=1).clip(0, side)


def still_pixels(frames: UInt8[np.ndarray, "F side side 3"]) -> Bool[np.ndarray, "side side"]:
    """What no frame changes, away from all that moves."""
    change = np.abs(frames.astype(np.int16) - frames[0]).max(axis=(0, 3))
    return _eroded(change <= CALM)


def _around_mouth(clip: PuppetClip, half: float, top: float, bottom: float) -> Complex[np.ndarray, "F 4"]:
    """Where the corners of a box on the face, half as wide and from `top` to `bottom` below the upper lip, come to lie
    in the picture, wherever the head goes."""
    joint = dict(zip(JOINTS, clip.joints.T.astype(float), strict=True))
    turn = np.exp(1j * np.radians(TILT * joint["head_tilt"] + LEAN * joint["lean"]))
    corners = clip.identity.scale * np.array([x + 1j * y for x in (-half, half) for y in (top, bottom)])
    return (joint["mouth_x"] + 1j * joint["mouth_y"])[:, None] + turn[:, None] * corners


def _boxes(corners: Complex[np.ndarray, "F N"], side: int) -> Mask:
    """In every frame the upright box around its corners, as far as it lies in the picture."""
    return _spans(corners.imag, side)[:, :, None] & _spans(corners.real, side)[:, None, :]


def _spans(places: Float[np.ndarray, "F N"], side: int) -> Bool[np.ndarray, "F side"]:
    """The pixels that lie between the least and the greatest place, in part or as a whole."""
    pixels = np.arange(side)
    first, last = (places.min(1) * side)[:, None], (places.max(1) * side)[:, None]
    return (pixels + 1 > first) & (pixels < last)


def _eroded(mask: Bool[np.ndarray, "side side"]) -> Bool[np.ndarray, "side side"]:
    """Without the pixels that have one outside of the mask within EDGE; outside of the picture there is none."""
    least = ImageFilter.MinFilter(2 * EDGE + 1)
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).filter(least)).astype(bool)
