"""A white page to draw pictures and plots on, with Pillow alone."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from actavatar_jax.puppets.pictures.enlarge import enlarged

Number = float | int | np.floating
Point = tuple[Number, Number]

COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#785ef0", "#8b4513")
GREY, PALE_GREY = "#555555", "#dddddd"
SPELT = str.maketrans(dict(zip("äöüÄÖÜß„", ("ae", "oe", "ue", "Ae", "Oe", "Ue", "ss", "“"), strict=True)))


class Page:
    """A white page. Positions and sizes are pixels of the saved picture, drawn twice as large for smooth edges."""

    def __init__(self, width: Number, height: Number):
        self.width, self.height = round(width), round(height)
        self._image = Image.new("RGB", (2 * self.width, 2 * self.height), "white")
        self._draw = ImageDraw.Draw(self._image)

    def text(self, x: Number, y: Number, text: str, size: int, colour: str = "black", anchor: str = "la") -> None:
        self._draw.text((2 * x, 2 * y), spelt(text), colour, ImageFont.load_default(2 * size), anchor=anchor)

    def width_of(self, text: str, size: int) -> Number:
        return self._draw.textlength(spelt(text), ImageFont.load_default(2 * size)) / 2

    def fitted(self, text: str, size: int, width: Number) -> str:
        """The text, without its last words where it is wider than `width`."""
        words = text.split()
        while words and self.width_of(text, size) > width:
            text = " ".join([*words[:-1], "..."])
            words.pop()
        return text

    def line(self, points: Sequence[Point], colour: str, width: int = 1) -> None:
        self._draw.line([(2 * x, 2 * y) for x, y in points], colour, 2 * width, joint="curve")

    def dot(self, x: Number, y: Number, colour: str) -> None:
        self._draw.circle((2 * x, 2 * y), 6, colour)

    def box(self, left: Number, top: Number, right: Number, bottom: Number, colour: str) -> None:
        self._draw.rectangle((2 * left, 2 * top, 2 * right, 2 * bottom), colour)

    def area(self, points: Sequence[Point], colour: str) -> None:
        self._draw.polygon([(2 * x, 2 * y) for x, y in points], colour)

    def paste(self, frame: UInt8[np.ndarray, "h w 3"], x: Number, y: Number, width: int) -> None:
        """A frame, `width` pixels across."""
        large = Image.fromarray(enlarged(frame[None], 2 * width)[0])
        self._image.paste(large, (round(2 * x), round(2 * y)))

    def picture(self) -> Image.Image:
        return self._image.reduce(2)

    def save(self, path: Path) -> None:
        self.picture().save(path)


class Plot:
    """A frame on a page for curves: values from `across` go from left to right, those from `up` from floor to top."""

    def __init__(self, page: Page, left: Number, top: Number, size: Point, across: Point, up: Point):
        self.page, self.left, self.top = page, left, top
        self.right, self.floor = left + size[0], top + size[1]
        self._across, self._up = across, up

    def x(self, value: Number) -> Number:
        low, high = self._across
        return self.left + (self.right - self.left) * (value - low) / (high - low)

    def y(self, value: Number) -> Number:
        low, high = self._up
        return self.floor - (self.floor - self.top) * (value - low) / (high - low)

    def scales(self, across: Iterable[Number], up: Iterable[Number], below: str) -> None:
        """Numbers at both axes, with a line for each of those upwards, and what is below the frame."""
        for value in up:
            self.page.line([(self.left, self.y(value)), (self.right, self.y(value))], PALE_GREY)
            self.page.text(self.left - 8, self.y(value), f"{value:.4g}", 13, GREY, "rm")
        for value in across:
            self.page.line([(self.x(value), self.floor), (self.x(value), self.floor + 5)], GREY)
            self.page.text(self.x(value), self.floor + 8, f"{value:.4g}", 13, GREY, "ma")
        self.page.text((self.left + self.right) / 2, self.floor + 26, below, 13, GREY, "ma")
        self.page.line([(self.left, self.top), (self.left, self.floor), (self.right, self.floor)], "black")

    def band(self, start: Number, end: Number, colour: str) -> None:
        """A stretch of the axis to the right, shaded up to the top."""
        self.page.box(self.x(start), self.top, self.x(end), self.floor, pale(colour))

    def curve(self, points: Iterable[Point], colour: str) -> None:
        placed = [(self.x(x), self.y(y)) for x, y in points]
        self.page.line(placed, colour, 3)
        for x, y in placed:
            self.page.dot(x, y, colour)


def draw_legend(page: Page, left: Number, top: Number, entries: Iterable[tuple[str, str]]) -> None:
    """(colour, label), one below the other."""
    for row, (colour, label) in enumerate(entries):
        at = top + 22 * row
        page.line([(left, at), (left + 26, at)], colour, 3)
        page.text(left + 34, at, page.fitted(label, 14, page.width - left - 44), 14, "black", "lm")


def ticks(low: Number, high: Number, count: int = 6) -> list[float]:
    """About `count` round numbers, the first at or below `low` and the last at or above `high`."""
    rough = max(float(high - low), 1e-9) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(step for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return (step * np.arange(first, max(last, first + 1) + 1)).tolist()


def spelt(text: str) -> str:
    """The text in letters that Pillow's own font has: it has no accents."""
    parts = unicodedata.normalize("NFKD", text.translate(SPELT))
    return "".join(part for part in parts if not unicodedata.combining(part))


def pale(colour: str) -> str:
    """A colour mixed with four parts of white."""
    return "#" + "".join(f"{(part + 4 * 255) // 5:02x}" for part in ImageColor.getrgb(colour))
