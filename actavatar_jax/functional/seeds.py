"""Random keys from seeds."""

from operator import index
from typing import SupportsIndex

import jax
import numpy as np
from jaxtyping import Key

from actavatar_jax.errors import InputError

SEEDS = range(2**64)


def random_key(seed: SupportsIndex) -> Key[jax.Array, ""]:
    """The key of a seed below 2^64, else InputError. JAX takes 32 bits of it, and would repeat itself: the upper ones
    are folded in.

    The generator is named because the default one can be configured, and others are not reproducible under `vmap`.
    """
    check_seed(seed)
    seed = index(seed)
    key = jax.random.key(np.uint32(seed % 2**32), impl="threefry2x32")
    return jax.random.fold_in(key, np.uint32(seed >> 32)) if seed >> 32 else key


def check_seed(seed: SupportsIndex) -> None:
    """InputError for a seed that is none. A range would go through all its numbers for one of NumPy's."""
    if not SEEDS.start <= seed < SEEDS.stop:
        raise InputError(f"The seed is {seed}; accepted is {SEEDS.start} to {SEEDS.stop - 1}.")
