"""Lookup-free quantisation: indices, parts, gradients, and losses against brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.avatarsync.tokenizer import lfq

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_indices_are_codes_with_channel_0_lowest():
    indices = jnp.arange(16).reshape(2, 8)
    codes = lfq.to_codes(indices, 4)
    assert codes.shape == (2, 8, 4) and set(np.unique(codes)) == {-1, 1}
    np.testing.assert_array_equal(lfq.to_indices(codes), indices)
    np.testing.assert_array_equal(lfq.to_codes(jnp.asarray([1]), 4), [[1, -1, -1, -1]])


def test_zero_is_minus_one():
    np.testing.assert_array_equal(lfq.quantise(jnp.asarray([0.0, -0.0, 1e-9, -3.0])), [-1, -1, 1, -1])


def test_two_parts_of_a_token():
    indices = jnp.asarray(np.random.default_rng(0).integers(0, 2**18, 100))
    first, second = lfq.split_indices(indices)
    np.testing.assert_array_equal(first + 64 * second, indices)
    codes = lfq.to_codes(indices, 18)
    np.testing.assert_array_equal(lfq.to_indices(codes[:, :6]), first)
    np.testing.assert_array_equal(lfq.to_indices(codes[:, 6:]), second)


def test_gradients_pass_straight_through():
    x, weights = (jnp.asarray(np.random.default_rng(seed).standard_normal((3, 5)), jnp.float32) for seed in (0, 1))
    gradient = jax.grad(lambda x: (lfq.quantise(x) * weights).sum())(x)
    np.testing.assert_array_equal(gradient, weights)


def test_losses_are_those_of_all_codes():
    K, temperature = 8, 0.3
    x = np.random.default_rng(0).normal(size=(7, K), scale=0.2)
    codes = np.asarray(list(itertools.product((-1, 1), repeat=K)))
    logits = 2 * x @ codes.T / temperature
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    sample = -(shares * np.log(shares)).sum(1).mean()
    mean = shares.mean(0)
    batch = -(mean * np.log(mean + 1e-5)).sum()
    commit = ((x - np.where(x > 0, 1, -1)) ** 2).mean()
    found = jax.jit(lambda x: lfq.losses(x, temperature))(jnp.asarray(x, jnp.float32).reshape(1, 7, K))
    np.testing.assert_allclose(found, (commit, sample, batch), rtol=1e-6)
    np.testing.assert_allclose(found.entropy, sample - batch, rtol=1e-5)


def test_products_are_in_the_order_of_indices():
    """Of a position that is sure, all of the probability lies at its index."""
    x = jnp.asarray([[0.5, -0.5, 0.5]])
    up = jax.nn.sigmoid(4 * x / 0.01)
    assert int(lfq._products(up, 1 - up)[0].argmax()) == int(lfq.to_indices(x)[0]) == 5


def test_losses_of_sure_and_unsure_numbers_are_finite_and_so_are_their_gradients():
    @jax.jit
    @jax.value_and_grad
    def loss(x):
        found = lfq.losses(x, 0.01)
        return found.entropy + found.commit

    for x in (jnp.full((2, 6), 40.0), jnp.zeros((2, 6))):
        value, gradient = loss(x)
        assert np.isfinite(value) and np.isfinite(gradient).all()
