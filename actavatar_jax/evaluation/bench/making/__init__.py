"""A new bench from portraits: a composition decided by a seed, texts by a multimodal model, speech by a program."""

from actavatar_jax.evaluation.bench.making.making import MadeBench, estimate_making, make_bench
from actavatar_jax.evaluation.bench.making.plans import CATEGORIES, Composition, Plan
from actavatar_jax.evaluation.bench.making.speaker import Speaker
from actavatar_jax.evaluation.bench.making.texts import ItemTexts, read_texts

__all__ = [
    "CATEGORIES",
    "Composition",
    "ItemTexts",
    "MadeBench",
    "Plan",
    "Speaker",
    "estimate_making",
    "make_bench",
    "read_texts",
]
