"""Initial values of single parameters, drawn where they belong."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.functional import Network
from actavatar_jax.weights import arrays


def draw_leaves(
    network: Network,
    wanted: Collection[str],
    seed: int = 0,
    dtype: Any = None,
    places: Mapping[str, jax.sharding.Sharding] | None = None,
) -> dict[str, jax.Array]:
    """`{name: initial value}` of the leaves `wanted`: those that `functional.init` draws all together by the seed.

    A large leaf is drawn alone: on the way to its value, float32 and random bits of every leaf of a program are there.
    """
    flat = functional.flatten(functional.abstract(network.module, network.config))
    sizes = {name: flat[name].size * flat[name].dtype.itemsize for name in wanted}
    drawn: dict[str, jax.Array] = {}
    for group in _groups(sizes, arrays.HOST_BYTES):
        sharded = tuple(places[name] for name in group) if places else None
        target = None if dtype is None else np.dtype(dtype)
        drawn |= _drawing(network.module, network.config, group, target, sharded)(functional.random_key(seed))
        jax.block_until_ready(drawn)  # programs that queue up would hold their memory side by side
    return drawn


def _groups(sizes: dict[str, int], limit: int) -> list[tuple[str, ...]]:
    """Names in groups of at most `limit` bytes, or of one name."""
    groups: list[tuple[str, ...]] = []
    filled = 0
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if not groups or filled + sizes[name] > limit:
            groups.append(())
            filled = 0
        groups[-1] += (name,)
        filled += sizes[name]
    return groups


@functools.cache
def _drawing(
    module: type,
    config: Any,
    leaves: tuple[str, ...],
    dtype: np.dtype | None,
    places: tuple[jax.sharding.Sharding, ...] | None,
) -> Callable[[jax.Array], dict[str, jax.Array]]:
    """key -> initial values of some leaves; the compiler drops the drawing of all others."""

    def draw(key: jax.Array) -> dict[str, jax.Array]:
        values = functional.flatten(functional.init(module, config, key))
        chosen = {name: values[name] for name in leaves}
        return functional.cast(chosen, dtype) if dtype else chosen

    shardings = dict(zip(leaves, places, strict=True)) if places else None
    return jax.jit(draw, out_shardings=shardings, compiler_options=functional.RUN_ONCE)
