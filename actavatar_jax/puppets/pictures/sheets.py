"""The demo's pictures: frames over a timeline, attention over time, and many clips side by side.

F video frames, T latent frames; parts of a prompt are its base and its phases.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.evaluation.attention import early_and_late
from actavatar_jax.media import FPS
from actavatar_jax.media.clock import latent_times
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.pictures.page import (
    COLOURS,
    GREY,
    PALE_GREY,
    Number,
    Page,
    Plot,
    Point,
    draw_legend,
    pale,
    ticks,
)

BASE_COLOUR = "#777777"
CELL, COLUMNS, GAP = 192, 10, 4  # pixels of a frame on the sheet, frames in a row at most, pixels between frames
SIZE, SMALL = 26, 22  # of the sheet's letters in pixels: it is wide, and shrunk when it is looked at as a whole
CONTACT = 112  # pixels of a frame among those of many clips


def draw_sheet(
    path: Path,
    drawn: UInt8[np.ndarray, "F h w 3"],
    sampled: UInt8[np.ndarray, "F h w 3"],
    prompt: StructuredPrompt,
    sentence: str,
    seen: Sequence[Float[np.ndarray, " F"]],
    mouths: tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]],
    keyframes: Sequence[tuple[float, str]] = (),
) -> None:
    """Drawn frames above sampled ones; below, on the same time axis, every phase's window and what a judge saw.

    `seen` has a curve from 0 to 1 for every phase, `mouths` the openings that the sound asks for and the judge saw;
    `keyframes` are seconds and names, of a model that makes some.
    """
    count = len(drawn)
    stride, margin, lane, head, pitch = math.ceil(count / COLUMNS), 130, 58, 40, CELL + GAP

    def x(seconds: Number) -> Number:
        return margin + CELL / 2 + seconds * FPS / stride * pitch

    right, top = x(count / FPS), 56
    bottom = top + 2 * pitch + 38
    page = Page(right + 40, bottom + (len(seen) + 1) * (head + lane) + (head if keyframes else 0) + 54)
    page.text(margin, 16, page.fitted(prompt.base, SMALL, right - margin), SMALL)
    for row, (label, frames) in enumerate((("drawn", drawn), ("sampled", sampled))):
        page.text(margin - 14, top + row * pitch + CELL / 2, label, SIZE, anchor="rm")
        for frame in range(0, count, stride):
            page.paste(frames[frame], x(frame / FPS) - CELL / 2, top + row * pitch, CELL)
    for frame in range(0, count, stride):
        page.text(x(frame / FPS), top + 2 * pitch + 4, f"{frame / FPS:.2f} s", SMALL, GREY, "ma")
        page.line([(x(frame / FPS), bottom - 4), (x(frame / FPS), page.height - 52)], PALE_GREY)

    def draw_lane(number: int, label: str, text: str, start: Number, colour: str) -> Number:
        """Label, heading and floor of a lane; the floor's height."""
        floor = bottom + (number + 1) * (head + lane)
        page.text(margin - 14, floor - lane / 2, label, SIZE, colour, "rm")
        text = page.fitted(text, SMALL, right - x(0))
        page.text(
            max(min(start, right - page.width_of(text, SMALL)), x(0)), floor - lane - 5, text, SMALL, colour, "ld"
        )
        page.line([(x(0), floor), (right, floor)], GREY)
        return floor

    def points(curve: Float[np.ndarray, " F"], floor: Number) -> list[Point]:
        return [(x(i / FPS), floor - lane * float(np.clip(value, 0, 1))) for i, value in enumerate(curve)]

    for k, (phase, curve) in enumerate(zip(prompt.phases, seen, strict=True)):
        colour, start = COLOURS[k], x(phase.start)
        floor = draw_lane(k, f"phase {k + 1}", f"{phase.stamp} {phase.action}", start, colour)
        page.box(start, floor - lane, min(x(phase.end), right), floor, pale(colour))
        page.line(points(curve, floor), colour, 3)
    floor = draw_lane(len(seen), "mouth", f"\u201c{sentence}\u201d", x(0), GREY)
    asked, opening = (points(curve, floor) for curve in mouths)
    page.area([(asked[0][0], floor), *asked, (asked[-1][0], floor)], "#bbbbbb")
    page.line(opening, "black", 3)
    for seconds, name in keyframes:
        page.line([(x(seconds), floor), (x(seconds), floor + 8)], GREY)
        page.text(x(seconds), floor + 10, name, SMALL, GREY, "ma")
    note = "Filled: what prompt and sound ask for. Lines: what the judge sees in the sampled frames, 0 to 1."
    page.text(margin, page.height - 40, note, SMALL, GREY)
    page.save(path)


def draw_attention(
    path: Path, shares: Float[np.ndarray, "layers T parts"], prompt: StructuredPrompt, duration: Number, level: Number
) -> None:
    """Each block's share of attention for base and phases over time, at an early and a late block, windows shaded."""
    layers, frames, parts = shares.shape
    labels = ["base text"]
    labels += [f"phase {k} {p.stamp}: {p.action}" for k, p in enumerate(prompt.phases, start=1)]
    colours = (BASE_COLOUR, *COLOURS)[:parts]
    width, height, margin, top = 460, 260, 64, 86
    page = Page(2 * (width + margin) + 30, height + 136 + 22 * parts)
    page.text(margin, 12, "Text attention over time", 17)
    about = f"share of each part of the prompt; mean over heads and places, at flow time {level:g}"
    page.text(margin, 34, about, 13, GREY)
    heights = ticks(0, shares.max())
    for panel, (block, word) in enumerate(zip(early_and_late(layers), ("early", "late"), strict=True)):
        left = margin + panel * (width + margin)
        plot = Plot(page, left, top, (width, height), (0, duration), (0, heights[-1]))
        for colour, phase in zip(colours[1:], prompt.phases, strict=True):
            plot.band(phase.start, min(phase.end, duration), colour)
        plot.scales(np.arange(0, duration + 1e-6, 0.5), heights, "seconds")
        page.text(left + width / 2, top - 22, f"block {block + 1} of {layers} ({word})", 14, anchor="ma")
        for part, colour in enumerate(colours):
            plot.curve(zip(latent_times(frames), shares[block, :, part], strict=True), colour)
    draw_legend(page, margin, top + height + 58, zip(colours, labels, strict=True))
    page.save(path)


def draw_contacts(
    path: Path,
    pairs: Sequence[tuple[UInt8[np.ndarray, "F h w 3"], UInt8[np.ndarray, "F h w 3"]]],
    columns: int = 9,
) -> None:
    """Of every pair of clips, (drawn, sampled), two rows of frames, evenly spread over the clip."""
    pitch, block = CONTACT + 2, 2 * (CONTACT + 2) + 10
    page = Page(columns * pitch - 2, len(pairs) * block - 12)
    for clip, rows in enumerate(pairs):
        for row, frames in enumerate(rows):
            for column, frame in enumerate(np.linspace(0, len(frames) - 1, columns).round().astype(int)):
                page.paste(frames[frame], column * pitch, clip * block + row * pitch, CONTACT)
    page.save(path)
