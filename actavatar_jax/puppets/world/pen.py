"""Pillow's shapes in the coordinates of a part of the figure, and the colours that a presenter is painted with."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from actavatar_jax.puppets.world.identity import GLASSES, Colour, Identity, Number, blend, shade
from actavatar_jax.puppets.world.pose import Placing, Point

CIRCLE = np.exp(2j * np.pi * np.arange(22) / 22)
WHITE = (250, 250, 250)


class Pen:
    """Draws on an image what is given as complex points on a part that `placing` puts into the picture."""

    def __init__(self, image: Image.Image, placing: Placing = Placing(1, 0)):  # noqa: B008 - a tuple of numbers
        self._image = image
        self._draw = ImageDraw.Draw(image)
        self._turn, self._origin = placing.turn * image.width, placing.origin * image.width
        self._size = abs(self._turn)

    def polygon(self, points: Iterable[Point], colour: Colour) -> None:
        self._draw.polygon(self._pixels(points), colour)

    def oval(self, centre: Point, across: Number, along: Number, colour: Colour) -> None:
        self.polygon(oval(centre, across, along), colour)

    def disc(self, centre: Point, radius: Number, colour: Colour) -> None:
        self._disc(self._turn * centre + self._origin, radius * self._size, colour)

    def ring(self, centre: Point, radius: Number, width: Number, colour: Colour) -> None:
        z, r = self._turn * centre + self._origin, radius * self._size
        box = (z.real - r, z.imag - r, z.real + r, z.imag + r)
        self._draw.ellipse(box, outline=colour, width=max(round(width * self._size), 1))

    def line(self, points: Iterable[Point], width: Number, colour: Colour) -> None:
        """Straight pieces with round joints and ends."""
        placed = [self._turn * point + self._origin for point in points]
        pixels = max(round(width * self._size), 1)
        self._draw.line([value for z in placed for value in (z.real, z.imag)], colour, pixels)
        for z in placed:
            self._disc(z, pixels / 2, colour)

    def _disc(self, z: Point, radius: Number, colour: Colour) -> None:
        self._draw.ellipse((z.real - radius, z.imag - radius, z.real + radius, z.imag + radius), colour)

    def _pixels(self, points: Iterable[Point]) -> list[float]:
        placed = np.asarray(points, np.complex128) * self._turn + self._origin
        return placed.view(np.float64).tolist()


def oval(centre: Point, across: Number, along: Number) -> np.ndarray:
    """Points around an ellipse with these radii."""
    return CIRCLE.real * across + 1j * CIRCLE.imag * along + centre


def cap(centre: Point, across: Number, along: Number, y: Number, upper: bool = True) -> np.ndarray:
    """Points around the part of that ellipse which is above `y` (below it where not `upper`)."""
    points = oval(centre, across, along)
    cut = np.clip((y - centre.imag) / along, -1, 1)
    half = across * np.sqrt(1 - cut**2)
    outside = points.imag > y if upper else points.imag < y
    return np.where(outside, np.clip(points.real - centre.real, -half, half) + centre.real + 1j * y, points)


@dataclass(frozen=True)
class Palette:
    """Every colour of a presenter, mixed once for a clip."""

    skin: Colour
    skin_shadow: Colour
    skin_edge: Colour
    cheek: Colour
    lips: Colour
    hair: Colour
    hair_shadow: Colour
    brow: Colour
    clothes: Colour
    clothes_shadow: Colour
    clothes_edge: Colour
    pattern: Colour
    wall: Colour
    glasses: Colour | None
    mouth: Colour = (50, 12, 20)
    tongue: Colour = (196, 84, 92)
    teeth: Colour = WHITE
    eye: Colour = WHITE
    iris: Colour = (40, 34, 44)

    @classmethod
    def of(cls, identity: Identity) -> "Palette":
        colours = identity.colours()
        skin, hair, clothes = colours["skin"], colours["hair"], colours["clothes"]
        return cls(
            skin=skin,
            skin_shadow=shade(skin, 0.86),
            skin_edge=shade(skin, 0.55),
            cheek=blend(skin, (226, 84, 84), 0.2),
            lips=blend(skin, (172, 36, 54), 0.55),
            hair=hair,
            hair_shadow=shade(hair, 0.8),
            brow=shade(hair, 0.6),
            clothes=clothes,
            clothes_shadow=shade(clothes, 0.86),
            clothes_edge=shade(clothes, 0.5),
            pattern=blend(clothes, WHITE, 0.5),
            wall=colours["wall"],
            glasses=GLASSES[identity.glasses],
        )
