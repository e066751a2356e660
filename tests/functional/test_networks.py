"""Parameter dicts as a whole."""

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional

PARAMS = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(2, np.float32)}


def test_a_digest_is_of_what_a_dict_holds_not_of_where_it_lies():
    other = {"b": jnp.ones(2), "a": {"kernel": jnp.asarray(PARAMS["a"]["kernel"].T.copy()).T}}
    assert functional.digest(other) == functional.digest(PARAMS)


@pytest.mark.parametrize(
    "other",
    [
        {"a": PARAMS["a"]},
        {"a": PARAMS["a"], "c": PARAMS["b"]},
        PARAMS | {"b": np.float32([1, np.nextafter(np.float32(1), 2)])},
        PARAMS | {"b": np.ones(2, np.int32)},
        PARAMS | {"b": np.ones((1, 2), np.float32)},
    ],
)
def test_whatever_differs_tells_two_dicts_apart(other):
    assert functional.digest(other) != functional.digest(PARAMS)
