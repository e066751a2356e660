"""Kernels in other forms: the product of each is that of the array it stands for, also of layers that are scanned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax import functional
from actavatar_jax.functional.kernels import LowRank, Quantized, fold, multiply
from actavatar_jax.models import Execution
from actavatar_jax.models.layers import linear

LAYERS, INPUTS, OUTPUTS, RANK = 3, 12, 8, 2


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def quantized(*layers):
    values = np.random.default_rng(1).integers(-127, 128, (*layers, INPUTS, OUTPUTS)).astype(np.int8)
    return Quantized(values, np.abs(draw(*layers, 1, OUTPUTS, seed=2)))


def low_rank(kernel, *layers):
    a, b = draw(*layers, INPUTS, RANK, seed=3), draw(*layers, RANK, OUTPUTS, seed=4)
    return LowRank(kernel, a, b, np.full(layers, 0.5, np.float32))


def whole(kernel):
    """The array that a kernel stands for."""
    if isinstance(kernel, Quantized):
        return kernel.values.astype(np.float32) * kernel.scale
    if isinstance(kernel, LowRank):
        return whole(kernel.kernel) + 0.5 * kernel.a @ kernel.b
    return kernel


KERNELS = {
    "array": lambda *layers: draw(*layers, INPUTS, OUTPUTS, seed=5),
    "quantized": quantized,
    "low_rank": lambda *layers: low_rank(draw(*layers, INPUTS, OUTPUTS, seed=5), *layers),
    "low_rank_of_quantized": lambda *layers: low_rank(quantized(*layers), *layers),
}


@pytest.mark.parametrize("form", KERNELS)
def test_products(form):
    kernel, x = KERNELS[form](), draw(2, 5, INPUTS, seed=6)
    np.testing.assert_allclose(multiply(jnp.asarray(x), kernel), x @ whole(kernel), rtol=1e-5, atol=1e-4)


def test_eight_bits_lose_nothing_in_bfloat16():
    """What is rounded is the result alone: values times scale would not be bfloat16 numbers."""
    kernel, x = quantized(), jnp.eye(INPUTS, dtype=jnp.bfloat16)
    product = multiply(x, kernel)
    assert product.dtype == jnp.bfloat16
    np.testing.assert_array_equal(product, whole(kernel).astype(jnp.bfloat16))


class Stack(nnx.Module):
    """Layers that are applied one after the other to the same input, in a scan."""

    def __init__(self, layers, *, rngs):
        self.layers = nnx.vmap(lambda r: linear(INPUTS, OUTPUTS, Execution(), r))(rngs.split(layers))

    def __call__(self, x):
        return jax.lax.scan(lambda _, layer: (None, layer(x)), None, self.layers)[1]


@pytest.mark.parametrize("form", KERNELS)
def test_a_scan_hands_each_layer_its_own_part(form):
    params = functional.init(Stack, LAYERS, jax.random.key(0))
    params["layers"] |= {"kernel": KERNELS[form](LAYERS), "bias": draw(LAYERS, OUTPUTS, seed=7)}
    x = jnp.asarray(draw(5, INPUTS, seed=6))
    got = jax.jit(lambda params: functional.bind(Stack, LAYERS, params)(x))(params)
    wanted = x @ whole(params["layers"]["kernel"]) + params["layers"]["bias"][:, None]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


def test_bind_takes_low_rank_leaves_beside_a_kernel():
    params = functional.init(Stack, LAYERS, jax.random.key(0))
    kernel = low_rank(params["layers"]["kernel"], LAYERS)
    params["layers"] |= {"lora_a": kernel.a, "lora_b": kernel.b, "lora_scale": kernel.scale}
    x = jnp.asarray(draw(5, INPUTS, seed=6))
    np.testing.assert_allclose(functional.bind(Stack, LAYERS, params)(x), x @ whole(kernel), rtol=1e-5, atol=1e-4)
    assert set(params["layers"]) == {"kernel", "bias", "lora_a", "lora_b", "lora_scale"}  # what came in stays whole


def test_fold_leaves_all_else_alone():
    params = {"head": {"kernel": 1, "bias": 2}, "norm": {"scale": 3}}
    assert fold(params) == params
