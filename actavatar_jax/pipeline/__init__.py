"""The whole system: a portrait, speech and a structured prompt in, a talking video out."""

from actavatar_jax.pipeline.pipeline import ActAvatarPipeline
from actavatar_jax.pipeline.programs import embed_conditions, fitting_params, in_form, velocity_function

__all__ = ["ActAvatarPipeline", "embed_conditions", "fitting_params", "in_form", "velocity_function"]
