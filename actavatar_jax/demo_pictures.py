"""The demo's pictures, drawn with Pillow alone: frames over a timeline, and attention over time.

F video frames, T latent frames; parts of a prompt are its base and its phases.
"""

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageColor, ImageDraw, ImageFont

from actavatar_jax.evaluation.attention import early_and_late
from actavatar_jax.media import FPS
from actavatar_jax.media.clock import latent_times
from actavatar_jax.prompt import StructuredPrompt

Number = float | int | np.floating
Point = tuple[Number, Number]

PHASE_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#785ef0", "#8b4513")
BASE_COLOUR, GREY, PALE_GREY = "#777777", "#555555", "#dddddd"
CELL, COLUMNS = 192, 13  # pixels of an enlarged frame at most, frames in a row at most
SPELT = str.maketrans(dict(zip("äöüÄÖÜß„", ("ae", "oe", "ue", "Ae", "Oe", "Ue", "ss", "“"), strict=True)))
SIZE = 22  # of the sheet's letters in pixels: it is wide, and shrunk when it is looked at as a whole


def draw_sheet(
    path: Path,
    drawn: UInt8[np.ndarray, "F h w 3"],
    sampled: UInt8[np.ndarray, "F h w 3"],
    prompt: StructuredPrompt,
    sentence: str,
    seen: Sequence[Float[np.ndarray, " F"]],
    mouths: tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]],
) -> None:
    """Drawn frames above sampled ones; below, on the same time axis, every phase's window and what a judge saw.

    `seen` has a curve from 0 to 1 for every phase, `mouths` the openings that the sound asks for and the judge saw.
    """
    count, side = drawn.shape[:2]
    stride, scale = math.ceil(count / COLUMNS), max(1, CELL // side)
    cell, margin, lane, head = side * scale, 140, 56, 34
    pitch = cell + 4

    def x(seconds: Number) -> Number:
        return margin + cell / 2 + seconds * FPS / stride * pitch

    right, top = x(count / FPS), 52
    bottom = top + 2 * pitch + 34
    page = Page(math.ceil(right) + 40, bottom + (len(seen) + 1) * (head + lane) + 50)
    page.text(margin, 14, textwrap.shorten(prompt.base, 200), SIZE)
    for row, (label, frames) in enumerate((("drawn", drawn), ("sampled", sampled))):
        page.text(margin - 14, top + row * pitch + cell / 2, label, SIZE, anchor="rm")
        for frame in range(0, count, stride):
            page.paste(frames[frame], x(frame / FPS) - cell / 2, top + row * pitch, scale)
    for frame in range(0, count, stride):
        page.text(x(frame / FPS), top + 2 * pitch + 4, f"{frame / FPS:.2f} s", SIZE - 4, GREY, "ma")
        page.line([(x(frame / FPS), bottom - 4), (x(frame / FPS), page.height - 48)], PALE_GREY)

    def draw_lane(number: int, label: str, text: str, start: Number, colour: str) -> Number:
        """Label, heading and floor of a lane; the floor's height."""
        floor = bottom + (number + 1) * (head + lane)
        page.text(margin - 14, floor - lane / 2, label, SIZE, colour, "rm")
        page.text(max(min(start, right - page.width_of(text, SIZE)), x(0)), floor - lane - 4, text, SIZE, colour, "ld")
        page.line([(x(0), floor), (right, floor)], GREY)
        return floor

    def points(curve: Float[np.ndarray, " F"], floor: Number) -> list[Point]:
        return [(x(i / FPS), floor - lane * float(np.clip(value, 0, 1))) for i, value in enumerate(curve)]

    for k, (phase, curve) in enumerate(zip(prompt.phases, seen, strict=True)):
        colour, start = PHASE_COLOURS[k], x(phase.start)
        floor = draw_lane(k, f"phase {k + 1}", f"{phase.stamp} {textwrap.shorten(phase.action, 100)}", start, colour)
        page.box(start, floor - lane, min(x(phase.end), right), floor, pale(colour))
        page.line(points(curve, floor), colour, 3)
    floor = draw_lane(len(seen), "mouth", f"\u201c{sentence}\u201d", x(0), GREY)
    asked, opening = (points(curve, floor) for curve in mouths)
    page.area([(asked[0][0], floor), *asked, (asked[-1][0], floor)], "#bbbbbb")
    page.line(opening, "black", 3)
    note = "Filled: what prompt and sound ask for. Lines: what the judge sees in the sampled frames, 0 to 1."
    page.text(margin, page.height - 36, note, SIZE - 4, GREY)
    page.save(path)


def draw_attention(
    path: Path, shares: Float[np.ndarray, "layers T parts"], prompt: StructuredPrompt, duration: Number, level: Number
) -> None:
    """Each block's share of attention for base and phases over time, at an early and a late block, windows shaded."""
    layers, frames, parts = shares.shape
    labels = ["base text"]
    labels += [f"phase {k} {p.stamp}: {textwrap.shorten(p.action, 100)}" for k, p in enumerate(prompt.phases, start=1)]
    colours = (BASE_COLOUR, *PHASE_COLOURS)[:parts]
    width, height, margin = 460, 260, 64
    page = Page(2 * (width + margin) + 30, height + 136 + 22 * parts)
    page.text(margin, 12, "Text attention over time", 17)
    about = f"share of each part of the prompt; mean over heads and places, at flow time {level:g}"
    page.text(margin, 34, about, 13, GREY)
    step = 0.1 if shares.max() <= 0.6 else 0.2
    highest = step * math.ceil(shares.max() / step)
    top, floor = 86, 86 + height
    for panel, (block, word) in enumerate(zip(early_and_late(layers), ("early", "late"), strict=True)):
        left = margin + panel * (width + margin)

        def x(seconds: Number, left: Number = left) -> Number:
            return left + width * seconds / duration

        def y(share: Number) -> Number:
            return floor - height * share / highest

        for colour, phase in zip(colours[1:], prompt.phases, strict=True):
            page.box(x(phase.start), top, min(x(phase.end), left + width), floor, pale(colour))
        for share in np.arange(0, highest + 1e-6, step):
            page.line([(left, y(share)), (left + width, y(share))], PALE_GREY)
            page.text(left - 8, y(share), f"{share:.1f}", 13, GREY, "rm")
        for tick in np.arange(0, duration + 1e-6, 0.5):
            page.line([(x(tick), floor), (x(tick), floor + 5)], GREY)
            page.text(x(tick), floor + 8, f"{tick:g}", 13, GREY, "ma")
        page.text(left + width / 2, floor + 26, "seconds", 13, GREY, "ma")
        page.text(left, top - 22, f"block {block + 1} of {layers} ({word})", 14)
        for part, colour in enumerate(colours):
            points = [(x(t), y(v)) for t, v in zip(latent_times(frames), shares[block, :, part], strict=True)]
            page.line(points, colour, 3)
            for px, py in points:
                page.dot(px, py, colour)
        page.line([(left, top), (left, floor), (left + width, floor)], "black")
    for row, (colour, label) in enumerate(zip(colours, labels, strict=True)):
        at = floor + 58 + 22 * row
        page.line([(margin, at), (margin + 26, at)], colour, 3)
        page.text(margin + 34, at, label, 14, "black", "lm")
    page.save(path)


def spelt(text: str) -> str:
    """The text in letters that Pillow's own font has: it has no accents."""
    parts = unicodedata.normalize("NFKD", text.translate(SPELT))
    return "".join(part for part in parts if not unicodedata.combining(part))


def pale(colour: str) -> str:
    """A colour mixed with four parts of white."""
    return "#" + "".join(f"{(part + 4 * 255) // 5:02x}" for part in ImageColor.getrgb(colour))


class Page:
    """A white page. Positions and sizes are pixels of the saved picture, drawn twice as large for smooth edges."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self._image = Image.new("RGB", (2 * width, 2 * height), "white")
        self._draw = ImageDraw.Draw(self._image)

    def text(self, x: Number, y: Number, text: str, size: int, colour: str = "black", anchor: str = "la") -> None:
        self._draw.text((2 * x, 2 * y), spelt(text), colour, ImageFont.load_default(2 * size), anchor=anchor)

    def width_of(self, text: str, size: int) -> Number:
        return self._draw.textlength(spelt(text), ImageFont.load_default(2 * size)) / 2

    def line(self, points: Sequence[Point], colour: str, width: int = 1) -> None:
        self._draw.line([(2 * x, 2 * y) for x, y in points], colour, 2 * width, joint="curve")

    def dot(self, x: Number, y: Number, colour: str) -> None:
        self._draw.circle((2 * x, 2 * y), 6, colour)

    def box(self, left: Number, top: Number, right: Number, bottom: Number, colour: str) -> None:
        self._draw.rectangle((2 * left, 2 * top, 2 * right, 2 * bottom), colour)

    def area(self, points: Sequence[Point], colour: str) -> None:
        self._draw.polygon([(2 * x, 2 * y) for x, y in points], colour)

    def paste(self, frame: UInt8[np.ndarray, "h w 3"], x: Number, y: Number, scale: int) -> None:
        """A frame with every pixel `scale` pixels wide."""
        large = Image.fromarray(frame.repeat(2 * scale, axis=0).repeat(2 * scale, axis=1))
        self._image.paste(large, (round(2 * x), round(2 * y)))

    def save(self, path: Path) -> None:
        self._image.reduce(2).save(path)
