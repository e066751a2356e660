"""A transformer with more blocks and wider FFNs that says what it said before.

What is added adds nothing until it is trained: it ends in kernels of zeros.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import RUN_ONCE, random_key
from actavatar_jax.models.avatar.config import DiTConfig
from actavatar_jax.weights import Component, find
from actavatar_jax.weights import folder as folders

LAST = ("self_attn/out", "cross_attn/out", "audio_attn/out", "ffn/down")  # of what a block adds to its stream


def grow_folder(folder: Path, layers: int, ffn: int) -> None:
    """Grows the transformer of a model folder; one of that size stays as it is. InputError as `grow_transformer`."""
    own = find(folder, "transformer").config
    if (own.layers, own.ffn) == (layers, ffn):
        return
    transformer = folders.load(folder, "transformer", dtype="float32")
    grown = grow_transformer(transformer, layers, ffn)
    folders.save(folder, "transformer", grown.config, grown.params)


def grow_transformer(transformer: Component, layers: int, ffn: int) -> Component:
    """The transformer with `layers` blocks, the further ones at its end, and `ffn` values in their FFNs.

    InputError where it has more of either. Equation 5 of the paper weighs what is heard by a block's place among all:
    the old blocks' kernels make up for their new places.
    """
    old = transformer.config
    if layers < old.layers or ffn < old.ffn:
        has = f"{old.layers} blocks with FFNs of {old.ffn}"
        raise InputError(f"A transformer of {has} cannot be grown to {layers} blocks with FFNs of {ffn}.")
    config: DiTConfig = dataclasses.replace(old, layers=layers, ffn=ffn)
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=RUN_ONCE)
    drawn = jax.device_get(draw(transformer.module, config, random_key(0)))
    grown, kept = functional.flatten(drawn), functional.flatten(transformer.params)
    for name, values in kept.items():
        if not name.startswith("blocks/"):
            grown[name] = values
            continue
        new = np.array(grown[name])
        if name.startswith(tuple(f"blocks/{last}" for last in LAST)):
            new[:] = 0
        if name.startswith("blocks/audio_attn/out"):
            values = values * (layers / old.layers) ** old.audio.gamma
        new[tuple(slice(size) for size in values.shape)] = values
        grown[name] = new
    return Component(transformer.module, config, functional.unflatten(grown))
