"""Random keys from seeds of 64 bits."""

import jax
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.functional import SEEDS, random_key


def bits(seed: int) -> bytes:
    return np.asarray(jax.random.key_data(random_key(seed))).tobytes()


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**31, 2**32 - 1])
def test_seeds_of_32_bits_are_those_of_jax(seed):
    assert bits(seed) == np.asarray(jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))).tobytes()


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_numbers_of_numpy_are_seeds_too(seed):
    assert bits(np.int64(seed)) == bits(np.uint64(seed)) == bits(seed)
    with pytest.raises(InputError, match="The seed is -1"):
        random_key(np.int64(-1))


def test_larger_seeds_repeat_nobody():
    """Half of the seeds that other programs draw are above 2^63."""
    seeds = [0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**33, 2**33 + 1, 2**50, 2**63, 2**63 + 1, 2**64 - 1]
    assert all(seed in SEEDS for seed in seeds) and 2**64 not in SEEDS
    assert len({bits(seed) for seed in seeds}) == len(seeds)
    for seed in (-1, 2**64):
        with pytest.raises(InputError, match=f"The seed is {seed}; accepted is 0 to 18446744073709551615"):
            random_key(seed)
