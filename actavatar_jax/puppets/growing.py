"""A transformer with more blocks, wider FFNs or a wider stream that goes on from what a smaller one has learnt.

What is added adds nothing until it is trained: it ends in kernels of zeros. With more blocks and wider FFNs a network
says exactly what it said. With more heads, by which the stream is wider, nearly so: norms mind the new values too.
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

JOINED = {"key_value": 2, "time_projection": 6}  # what stands side by side in a kernel's last axis
LAST = ("self_attn/out", "cross_attn/out", "audio_attn/out", "ffn/down")  # of what a block adds to its stream


def sized(config: DiTConfig, layers: int, ffn: int, heads: int) -> DiTConfig:
    """The config with so many blocks, values in each one's FFN, and heads; the stream is as wide as all heads."""
    return dataclasses.replace(config, layers=layers, ffn=ffn, heads=heads, width=heads * config.head_dim)


def grow_folder(folder: Path, layers: int, ffn: int, heads: int) -> None:
    """Grows the transformer of a model folder; one of that size stays as it is. InputError as `grow_transformer`."""
    own = find(folder, "transformer").config
    if own == sized(own, layers, ffn, heads):
        return
    transformer = folders.load(folder, "transformer", dtype="float32")
    grown = grow_transformer(transformer, layers, ffn, heads)
    folders.save(folder, "transformer", grown.config, grown.params)


def grow_transformer(transformer: Component, layers: int, ffn: int, heads: int) -> Component:
    """The transformer at the size that `sized` gives it; further blocks are at its end.

    InputError where it has more of anything. Equation 5 of the paper weighs what is heard by a block's place among all:
    the old blocks' kernels make up for their new places.
    """
    old = transformer.config
    if layers < old.layers or ffn < old.ffn or heads < old.heads:
        has = f"{old.layers} blocks with {old.heads} heads and FFNs of {old.ffn}"
        raise InputError(
            f"A transformer of {has} cannot be grown to {layers} blocks with {heads} heads and FFNs of {ffn}."
        )
    if heads > old.heads:
        transformer = _widen_stream(transformer, sized(old, old.layers, old.ffn, heads))
    config = sized(old, layers, ffn, heads)
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


def _widen_stream(transformer: Component, config: DiTConfig) -> Component:
    """The transformer with the heads and the stream of `config`; what `_widen` adds is read by nobody."""
    shapes = functional.flatten(functional.abstract(transformer.module, config))
    rng, wider = np.random.default_rng(0), {}
    for name, values in functional.flatten(jax.device_get(transformer.params)).items():
        together = next((count for part, count in JOINED.items() if part in name), 1)
        size, kernel = shapes[name].shape, name.endswith("/kernel")
        parts = [_widen(part, size[-1] // together, rng if kernel else None) for part in np.split(values, together, -1)]
        wider[name] = np.concatenate(parts, axis=-1)
        if kernel:
            unread = size[-2] - values.shape[-2]
            wider[name] = np.pad(wider[name], [(0, 0)] * (values.ndim - 2) + [(0, unread), (0, 0)])
    return Component(transformer.module, config, functional.unflatten(wider))


def _widen(values: np.ndarray, width: int, rng: np.random.Generator | None) -> np.ndarray:
    """`values` with more along the last axis, up to `width`: the first ones again, so that norms find what they know.

    Those of kernels take what the first ones take in another order, by `rng`: as large, and something else.
    """
    new = values[..., : width - values.shape[-1]]
    if rng is not None:
        new = rng.permutation(new, axis=-2)
    return np.concatenate([values, new], axis=-1)
