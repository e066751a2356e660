"""The few layers that the transformer parts share, with the backbone's initialisation and its fp32 islands."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx


def linear(
    inputs: int,
    outputs: int,
    dtype: str,
    rngs: nnx.Rngs,
    kernel_init: Callable = nnx.initializers.xavier_uniform(),  # noqa: B008 - a pure function
) -> nnx.Linear:
    """A linear layer that computes in `dtype` and keeps its weights in float32; zero bias."""
    return nnx.Linear(inputs, outputs, dtype=jnp.dtype(dtype), kernel_init=kernel_init, rngs=rngs)


def layer_norm(width: int, *, epsilon: float, affine: bool = True, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm computed and returned in float32."""
    return nnx.LayerNorm(
        width, epsilon=epsilon, use_bias=affine, use_scale=affine, dtype=jnp.float32, use_fast_variance=False, rngs=rngs
    )


def rms_norm(width: int, *, epsilon: float, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """RMSNorm computed and returned in float32."""
    return nnx.RMSNorm(width, epsilon=epsilon, dtype=jnp.float32, use_fast_variance=False, rngs=rngs)
