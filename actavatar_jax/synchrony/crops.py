"""Faces cut out as SyncNet was trained on them: a square with room around the face, most of it below."""

from collections.abc import Iterable, Iterator
from types import ModuleType

import numpy as np
from jaxtyping import Float, UInt8
from scipy.signal import medfilt

from actavatar_jax.errors import InputError

SIDE = 224  # pixels
SMOOTHED = 13  # frames whose median is taken
ROOM = 0.4  # of half of the face's size, on both sides and, twice, below
GREY = 110  # beyond the picture


def cut_faces(
    frames: Iterable[UInt8[np.ndarray, "H W 3"]], boxes: Float[np.ndarray, "F 4"]
) -> Iterator[UInt8[np.ndarray, "224 224 3"]]:
    """The faces in the frames of a track, in its order of colours; boxes: left, top, width, height in pixels.

    Size and place are medians over 13 frames, with zeros beyond the ends of the track.
    """
    half = boxes[:, 2:].max(1) / 2
    smoothed = [medfilt(column, SMOOTHED) for column in (*(boxes[:, :2] + boxes[:, 2:] / 2).T, half)]
    for frame, x, y, size in zip(frames, *smoothed, strict=False):
        yield cut_face(frame, float(x), float(y), float(size))


def cut_face(
    frame: UInt8[np.ndarray, "H W 3"], x: float | int, y: float | int, half: float | int
) -> UInt8[np.ndarray, "224 224 3"]:
    """The square from `half` above to 1.8 `half` below (x, y), and 1.4 `half` to both sides; pixels."""
    border = int(half * (1 + 2 * ROOM))
    padded = np.pad(frame, ((border, border), (border, border), (0, 0)), constant_values=GREY)
    x, y = x + border, y + border
    rows = slice(int(y - half), int(y + half * (1 + 2 * ROOM)))
    columns = slice(int(x - half * (1 + ROOM)), int(x + half * (1 + ROOM)))
    return _opencv().resize(padded[rows, columns], (SIDE, SIDE))


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise InputError("Faces are cut out by OpenCV, which is not installed; install actavatar-jax[eval].") from error
    return cv2
