"""Random keys from seeds."""

import jax
import numpy as np
from jaxtyping import Key

from actavatar_jax.errors import InputError

SEEDS = range(2**64)


def random_key(seed: int) -> Key[jax.Array, ""]:
    """The key of a seed below 2^64, else InputError. JAX takes 32 bits of it, and would repeat itself: the upper ones
    are folded in.

    The generator is named because the default one can be configured, and others are not reproducible under `vmap`.
    """
    check_seed(seed)
    key = jax.random.key(np.uint32(seed % 2**32), impl="threefry2x32")
    return jax.random.fold_in(key, np.uint32(seed >> 32)) if seed >> 32 else key


def check_seed(seed: int) -> None:
    """InputError for a seed that is none."""
    if seed not in SEEDS:
        raise InputError(f"The seed is {seed}; accepted is {SEEDS.start} to {SEEDS.stop - 1}.")
