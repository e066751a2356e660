"""The few layers that the transformer parts share, with the backbone's initialisation and its fp32 islands."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.functional import kernels
from actavatar_jax.models.execution import Execution


def linear(
    inputs: int,
    outputs: int,
    execution: Execution,
    rngs: nnx.Rngs,
    kernel_init: Callable = nnx.initializers.xavier_uniform(),  # noqa: B008 - a pure function
    use_bias: bool = True,
) -> "Linear":
    """A linear layer that keeps its weights in float32 whatever it computes in; zero bias."""
    return Linear(inputs, outputs, kernel_init=kernel_init, use_bias=use_bias, rngs=rngs, **execution.products)


class Linear(nnx.Linear):
    """A linear layer whose kernel may take any of the forms of `kernels`."""

    def __call__(self, x: Float[Array, "*rest I"]) -> Float[Array, "*rest O"]:
        x = kernels.multiply(x.astype(self.dtype), self.kernel.get_value(), self.precision)
        return x if self.bias is None else x + self.bias[...].astype(self.dtype).reshape((1,) * (x.ndim - 1) + (-1,))


def layer_norm(width: int, *, epsilon: float, affine: bool = True, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """LayerNorm computed and returned in float32."""
    return nnx.LayerNorm(
        width, epsilon=epsilon, use_bias=affine, use_scale=affine, dtype=jnp.float32, use_fast_variance=False, rngs=rngs
    )


def rms_norm(width: int, *, epsilon: float, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """RMSNorm computed and returned in float32."""
    return nnx.RMSNorm(width, epsilon=epsilon, dtype=jnp.float32, use_fast_variance=False, rngs=rngs)


def gelu(x: Array) -> Array:
    """The exact form with the error function, in float32."""
    return jax.nn.gelu(x.astype(jnp.float32), approximate=False).astype(x.dtype)
