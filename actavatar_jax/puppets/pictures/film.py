"""The demo as a short film without sound, for pages that play no video: drawn beside sampled, told what goes on."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from actavatar_jax.media import FPS
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.pictures.page import COLOURS, GREY, PALE_GREY, Page, pale

HELD = 800  # milliseconds for which the last picture stays before the film begins again
GAP = 12  # pixels around the films


def draw_preview(
    path: Path,
    drawn: UInt8[np.ndarray, "F h w 3"],
    sampled: UInt8[np.ndarray, "F h w 3"],
    prompt: StructuredPrompt,
    fps: int = FPS,
    size: int = 256,
) -> None:
    """An animated WebP of both films, `size` pixels across each, above the phase that is on and a timeline of all."""
    pictures = [
        _draw_moment(pair, prompt, frame / fps, len(drawn) / fps, size)
        for frame, pair in enumerate(zip(drawn, sampled, strict=True))
    ]
    lasting = [round(1000 / fps)] * (len(pictures) - 1) + [HELD]
    options = {"duration": lasting, "loop": 0, "quality": 85, "method": 4}
    pictures[0].save(path, "WEBP", save_all=True, append_images=pictures[1:], **options)


def _draw_moment(
    pair: tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]],
    prompt: StructuredPrompt,
    time: float,
    duration: float,
    size: int,
) -> Image.Image:
    height = round(size * pair[0].shape[0] / pair[0].shape[1])
    left, right, top = GAP, 2 * size + 2 * GAP, 30
    caption, line = top + height + 12, top + height + 46
    page = Page(right + GAP, line + 18)
    for column, (label, frame) in enumerate(zip(("drawn", "sampled"), pair, strict=True)):
        start = left + column * (size + GAP)
        page.text(start + size / 2, 7, label, 15, GREY, "ma")
        page.paste(frame, start, top, size)
    page.box(left, line, right, line + 6, PALE_GREY)
    for colour, phase in zip(COLOURS, prompt.phases, strict=False):
        start, end = (left + (right - left) * min(at / duration, 1) for at in (phase.start, phase.end))
        now = phase.start <= time < phase.end
        page.box(start, line, end, line + 6, colour if now else pale(colour))
        if now:
            page.text((left + right) / 2, caption, page.fitted(phase.action, 18, right - left), 18, colour, "ma")
    at = left + (right - left) * time / duration
    page.box(at - 1, line - 4, at + 1, line + 10, "black")
    return page.picture()
