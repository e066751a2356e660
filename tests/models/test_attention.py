"""Attention backends agree with the plain form, forwards and backwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.models import attention as module
from actavatar_jax.models.attention import attention


def inputs(length: int, keys: int):
    k = jax.random.split(jax.random.key(0), 4)
    shape = (2, length, 3, 16)
    return (
        jax.random.normal(k[0], shape),
        jax.random.normal(k[1], (2, keys, 3, 16)),
        jax.random.normal(k[2], (2, keys, 3, 16)),
        jax.random.normal(k[3], (2, 1, length, keys)),
    )


@pytest.mark.parametrize("length", [7, 64, 100])  # below, at and across chunk borders
@pytest.mark.parametrize("biased", [False, True])
def test_chunked_equals_plain(length, biased, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 32)
    q, k, v, bias = inputs(length, 40)
    bias = bias if biased else None

    def loss(backend):
        return lambda q, k, v: jnp.sum(jnp.sin(attention(q, k, v, bias=bias, backend=backend)))

    for argument in range(3):
        ours = jax.jit(jax.value_and_grad(loss("chunked"), argument))(q, k, v)
        plain = jax.jit(jax.value_and_grad(loss("xla"), argument))(q, k, v)
        np.testing.assert_allclose(ours[0], plain[0], rtol=1e-5)
        np.testing.assert_allclose(ours[1], plain[1], atol=2e-5)


def test_chunked_memory_does_not_grow_with_the_square_of_the_length():
    q, k, v, _ = inputs(4096, 4096)

    def temporaries(backend):
        step = jax.jit(jax.grad(lambda q, k, v: attention(q, k, v, backend=backend).sum(), (0, 1, 2)))
        return step.lower(q, k, v).compile().memory_analysis().temp_size_in_bytes

    assert temporaries("chunked") < temporaries("xla") / 3


def test_unknown_backend_is_refused():
    q, k, v, _ = inputs(4, 4)
    with pytest.raises(ValueError, match="xla, chunked, cudnn, splash"):
        attention(q, k, v, backend="flash")


@pytest.mark.skipif(jax.default_backend() != "gpu", reason="cuDNN attention needs an NVIDIA GPU")
def test_cudnn_equals_plain():
    q, k, v, _ = (x.astype(jnp.bfloat16) for x in inputs(128, 128))
    got, want = attention(q, k, v, backend="cudnn"), attention(q, k, v)
    np.testing.assert_allclose(np.float32(got), np.float32(want), atol=2e-2)


@pytest.mark.skipif(jax.default_backend() != "tpu", reason="splash attention needs a TPU")
def test_splash_equals_plain():
    key = jax.random.split(jax.random.key(0), 3)
    q, k, v = (jax.random.normal(k, (1, 600, 2, 128)) for k in key)
    np.testing.assert_allclose(attention(q, k, v, backend="splash"), attention(q, k, v), atol=2e-2)
