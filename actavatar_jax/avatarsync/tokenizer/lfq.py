"""Lookup-free quantisation: a code is the signs of K numbers, and its index has channel 0 as the lowest bit.

Source: arXiv 2310.05737 section 3.2 and Open-MAGVIT2 (TencentARC/SEED-Voken).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

FIRST_PART = 6  # bits of the first of two parts of a token of 18


@jax.custom_jvp
def quantise(x: Float[Array, "*shape K"]) -> Float[Array, "*shape K"]:
    """+1 above 0, else -1; gradients pass as if it were the identity (straight-through)."""
    return jnp.where(x > 0, 1.0, -1.0).astype(x.dtype)


@quantise.defjvp
def _quantise_jvp(primals, tangents):
    return quantise(*primals), tangents[0]


def to_indices(codes: Float[Array, "*shape K"]) -> Int[Array, "*shape"]:
    """Codes of +1 and -1 -> indices."""
    powers = 2 ** jnp.arange(codes.shape[-1])
    return jnp.sum(jnp.where(codes > 0, powers.reshape((1,) * (codes.ndim - 1) + (-1,)), 0), axis=-1)


def to_codes(indices: Int[Array, "*shape"], bits: int) -> Float[Array, "*shape K"]:
    """Inverse of `to_indices`."""
    places = jnp.arange(bits).reshape((1,) * indices.ndim + (-1,))
    return 2.0 * ((indices[..., None] >> places) & 1) - 1.0


def split_indices(indices: Int[Array, "*shape"]) -> tuple[Int[Array, "*shape"], Int[Array, "*shape"]]:
    """The two parts of a token, lower and upper bits: index = first + 64 second."""
    return indices % 2**FIRST_PART, indices >> FIRST_PART


class Losses(NamedTuple):
    """What keeps the numbers near their signs, and all codes in use."""

    commit: Float[Array, ""]  # mean squared distance from the code
    sample_entropy: Float[Array, ""]  # of one position's code, to be small (nats)
    batch_entropy: Float[Array, ""]  # of the codes of all positions, to be large (nats)

    @property
    def entropy(self) -> Float[Array, ""]:
        """What is minimised."""
        return self.sample_entropy - self.batch_entropy


def losses(x: Float[Array, "*shape K"], temperature: float, epsilon: float = 1e-5) -> Losses:
    """Losses of numbers before `quantise`, as a softmax over all 2^K codes c of 2 x c / temperature has them.

    That softmax is a product over channels of the probability `sigmoid(4 x / temperature)` of +1, so the entropy of one
    position is a sum over channels, and the mean over positions is one product of two matrices of 2^(K/2) columns.
    """
    flat = x.reshape(-1, x.shape[-1]).astype(jnp.float32)
    logits = 4 * flat / temperature
    up, down = jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)
    sample = -(up * jax.nn.log_sigmoid(logits) + down * jax.nn.log_sigmoid(-logits)).sum(-1).mean()
    half = flat.shape[-1] // 2
    lower = _products(up[:, :half], down[:, :half])
    upper = _products(up[:, half:], down[:, half:])
    mean = jnp.matmul(upper.T, lower, precision="highest") / len(flat)
    batch = -jnp.sum(mean * jnp.log(mean + epsilon))
    commit = jnp.mean((flat - jax.lax.stop_gradient(quantise(flat))) ** 2)
    return Losses(commit, sample, batch)


def _products(up: Float[Array, "T K"], down: Float[Array, "T K"]) -> Float[Array, "T codes"]:
    """The probability of every code of these channels, in the order of indices."""
    codes = jnp.ones((len(up), 1))
    for channel in range(up.shape[-1]):
        codes = jnp.concatenate([codes * down[:, channel, None], codes * up[:, channel, None]], axis=-1)
    return codes
