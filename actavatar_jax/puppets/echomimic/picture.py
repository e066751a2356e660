"""A dubbed clip as a picture: as it was drawn, what of it was given, what was made of that, and how the mouth moves.

F video frames, h w pixel sides.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.media import FPS
from actavatar_jax.puppets.pictures.page import COLOURS, GREY, Number, Page, Point

COLUMNS, CELL, GAP, MARGIN = 9, 144, 4, 104  # frames in a row, pixels of one, between them, and to the left
LANE, SIZE, SMALL = 84, 20, 17  # pixels of the curves' height and of letters
UNKNOWN = 128  # grey, as it is shown to the model

Frames = UInt8[np.ndarray, "F h w 3"]
Opening = Float[np.ndarray, " F"]


def draw_dub(
    path: Path, drawn: Frames, given: Frames, dubbed: Frames, old: Opening, new: Opening, seen: Opening
) -> None:
    """Frames evenly spread over the clip, and below them how far the mouth is open over the same time: as drawn with
    the `old` speech, as the `new` one asks for, and as a judge has `seen` it in what was made."""
    pitch, top = CELL + GAP, 8
    bottom, right = top + 3 * pitch + 36, MARGIN + COLUMNS * pitch
    page = Page(right + 8, bottom + LANE + 66)
    shown = np.linspace(0, len(drawn) - 1, COLUMNS).round().astype(int)
    for row, (label, frames) in enumerate((("drawn", drawn), ("given", given), ("dubbed", dubbed))):
        page.text(MARGIN - 12, top + row * pitch + CELL / 2, label, SIZE, anchor="rm")
        for column, frame in enumerate(shown):
            page.paste(frames[frame], MARGIN + column * pitch, top + row * pitch, CELL)
    for column, frame in enumerate(shown):
        page.text(MARGIN + column * pitch + CELL / 2, bottom - 32, f"{frame / FPS:.2f} s", SMALL, GREY, "ma")

    def points(curve: Opening) -> list[Point]:
        return [(x(frame), bottom + LANE * (1 - float(np.clip(value, 0, 1)))) for frame, value in enumerate(curve)]

    def x(frame: int) -> Number:
        return MARGIN + CELL / 2 + frame * (COLUMNS - 1) * pitch / max(len(drawn) - 1, 1)

    asked = points(new)
    page.text(MARGIN - 12, bottom + LANE / 2, "mouth", SIZE, anchor="rm")
    page.area([(asked[0][0], bottom + LANE), *asked, (asked[-1][0], bottom + LANE)], "#bbbbbb")
    page.line(points(old), COLOURS[0], 2)
    page.line(points(seen), "black", 3)
    note = (
        "Filled: as the new speech asks for. Black: as the judge sees it in the dubbed clip. Orange: as drawn before."
    )
    page.text(MARGIN, page.height - 34, page.fitted(note, SMALL, page.width - MARGIN), SMALL, GREY)
    page.save(path)
