"""Pixels in training: bytes to numbers, and how far pictures are apart."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8


def signed(pixels: UInt8[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Bytes -> [-1, 1], as tokenizers have them."""
    return pixels.astype(jnp.float32) / 127.5 - 1


def psnr(one: Float[Array, "*shape"], other: Float[Array, "*shape"], peak: float) -> Float[Array, ""]:
    """Decibels of the mean squared error, of pixels that lie at most `peak` apart."""
    return -10 * jnp.log10(jnp.mean(((one - other) / peak) ** 2) + 1e-10)
