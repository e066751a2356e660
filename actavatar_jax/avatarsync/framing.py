"""A head in a larger picture: cut out as the model takes it, and put back into the picture frame by frame.

F frames, H W pixels of the picture, s pixels a side of the model's frames, n faces.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from actavatar_jax.avatarsync.pasting import Paste
from actavatar_jax.errors import InputError
from actavatar_jax.media import load_image

LARGEST = 1280  # pixels of the long side of a film
SMALLEST = 32  # pixels of a head's side
EDGE = 1 / 16  # of the square's side, over which frames fade into the picture
AROUND_FACE = 1.8  # a head's side, of the longer side of its face

SMOOTH = Image.Resampling.BICUBIC


@dataclasses.dataclass(frozen=True, eq=False)
class Framing:
    """A picture, and the square of its head: pixels from the left, from the top, and a side."""

    picture: UInt8[np.ndarray, "H W 3"]
    square: tuple[int, int, int]

    @property
    def head(self) -> UInt8[np.ndarray, "side side 3"]:
        """What is in the square."""
        left, top, side = self.square
        return self.picture[top : top + side, left : left + side]

    def put_back(
        self, frames: UInt8[np.ndarray, "F s s 3"], paste: Paste | None = None
    ) -> UInt8[np.ndarray, "F H W 3"]:
        """The picture with every frame in the place of its head, behind a soft edge; with `paste`, which is that of the
        same head and a model's frames that are not pasted yet, only where something has changed."""
        left, top, side = self.square
        films, edge = np.repeat(self.picture[None], len(frames), axis=0), soft_edge(side)
        for film, frame in zip(films, frames, strict=True):
            share = edge if paste is None else edge * enlarge(paste.share(frame.astype(np.float32) / 255), side)
            large = np.asarray(Image.fromarray(frame).resize((side, side), SMOOTH), np.float32)
            place, share = film[top : top + side, left : left + side], share[..., None]
            place[:] = np.rint(place * (1 - share) + large * share)
        return films


def frame_head(image: Any, square: tuple[int, int, int]) -> Framing:
    """The framing of a head; the picture is made smaller where its long side has more than `LARGEST` pixels, and its
    sides even.

    Args:
      image: path, Pillow image or uint8 [H, W, 3].
      square: pixels from the left, from the top, and a side, of the image as it is.

    Raises:
      InputError: a square that is not in the picture, or smaller than `SMALLEST` pixels; and as `load_image`.
    """
    picture = load_image(image)
    height, width = picture.shape[:2]
    left, top, side = square
    if side < SMALLEST or min(left, top) < 0 or left + side > width or top + side > height:
        raise InputError(
            f"The head is {side} pixels wide at {left}, {top}; accepted is a square of {SMALLEST} pixels or more "
            f"within the picture's {width} x {height}."
        )
    scale = min(1.0, LARGEST / max(height, width))
    if scale < 1:
        size = round(width * scale), round(height * scale)
        picture = np.asarray(Image.fromarray(picture).resize(size, SMOOTH))
    picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
    left, top, side = (round(scale * length) for length in square)
    side = min(side, picture.shape[1] - left, picture.shape[0] - top)
    return Framing(picture, (left, top, side))


def square_around(faces: Float[np.ndarray, "n 4"], picture: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int, int]:
    """The square of a head in a picture, around the largest of its faces (left, top, width, height).

    InputError where there is no face.
    """
    if not len(faces):
        raise InputError("The picture shows no face; accepted is a portrait, or the square of its head.")
    left, top, width, height = max(faces, key=lambda face: face[2] * face[3])
    side = min(round(AROUND_FACE * max(width, height)), *picture.shape[:2])
    corner = round(left + (width - side) / 2), round(top + (height - side) / 2)
    x, y = (min(max(start, 0), end - side) for start, end in zip(corner, picture.shape[1::-1], strict=True))
    return x, y, side


def soft_edge(side: int) -> Float32[np.ndarray, "side side"]:
    """1 within a square, falling to 0 at its border."""
    inwards = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.clip(inwards / (EDGE * side), 0, 1).astype(np.float32)
    return np.minimum(ramp[:, None], ramp[None])


def enlarge(share: Float32[np.ndarray, "s s"], side: int) -> Float32[np.ndarray, "side side"]:
    """Bilinearly."""
    return np.asarray(Image.fromarray(share).resize((side, side), Image.Resampling.BILINEAR))
