"""The page on which a person accepts, edits or rejects the items of a draft; it needs no other file but the sound."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.evaluation.bench.review.accepting import item_digest
from actavatar_jax.evaluation.bench.templates import write_page
from actavatar_jax.media import load_image

REVIEW_PAGE = "review.html"
HEIGHT = 240  # pixels of a portrait


def write_review_page(items: Sequence[BenchItem], folder: Path) -> None:
    """`review.html`, whose verdicts the browser keeps and a button saves as `review.json`."""
    from actavatar_jax.charts import encode_thumbnail  # of an extra

    pictures = {image: encode_thumbnail(load_image(image), HEIGHT) for image in {item.image for item in items}}
    cards = [_card(item, folder) | {"picture": pictures[item.image]} for item in items]
    write_page(Path(__file__).with_name("page.html"), {"cards": cards}, folder / REVIEW_PAGE)


def _card(item: BenchItem, folder: Path) -> dict[str, Any]:
    from actavatar_jax.charts import draw_timeline  # of an extra

    phases = [(phase.start, phase.end, phase.action) for phase in item.phases]
    return {
        "id": item.id,
        "digest": item_digest(item),
        "about": f"{item.category}, {item.language}",
        "audio": quote(os.path.relpath(item.audio, folder)),
        "transcript": item.transcript,
        "base": item.base,
        "timeline": draw_timeline(phases, item.duration),
        "phases": [(f"{phase.start:g} to {phase.end:g} s, {phase.body_part}", phase.action) for phase in item.phases],
    }
