"""The whole system: a portrait, speech and a structured prompt in, a talking video out."""

from actavatar_jax.pipeline.long import (
    LongVideo,
    Part,
    Tail,
    cut_parts,
    cut_prompt,
    make_parts,
    prompt_of_long,
    sampling_of,
)
from actavatar_jax.pipeline.pipeline import ActAvatarPipeline
from actavatar_jax.pipeline.programs import embed_conditions, fitting_params, in_form, velocity_function
from actavatar_jax.pipeline.request import Excerpt

__all__ = [
    "ActAvatarPipeline",
    "Excerpt",
    "LongVideo",
    "Part",
    "Tail",
    "cut_parts",
    "cut_prompt",
    "embed_conditions",
    "fitting_params",
    "in_form",
    "make_parts",
    "prompt_of_long",
    "sampling_of",
    "velocity_function",
]
