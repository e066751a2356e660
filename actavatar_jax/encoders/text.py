"""Text features: the compiled text encoder, and the tokenizer of a model folder. S text tokens, D its width."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int

from actavatar_jax.functional import Network
from actavatar_jax.prompt.tokenizer import ModelTokenizer, load_tokenizer
from actavatar_jax.weights import find_tokenizer


@functools.partial(jax.jit, static_argnames="network")
def encode_text(network: Network, params: Any, ids: Int[Array, " S"], mask: Bool[Array, " S"]) -> Float32[Array, "S D"]:
    features = network.bind(params)(ids[None], mask[None])[0]
    return jnp.where(mask[:, None], features, 0.0).astype(jnp.float32)


def load_model_tokenizer(folder: Path) -> ModelTokenizer:
    """The tokenizer of a model folder; InputError as `load_tokenizer` has it."""
    return load_tokenizer(find_tokenizer(folder))
