"""ConvNorm: convolution, batch norm with the statistics of its training, ReLU; what networks that measure are made of.

B batch, I J places before and after (rows and columns, of videos also time), C D channels.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

EPSILON = 1e-3  # of TensorFlow's Inception networks; PyTorch's own default is 1e-5
LETTERS = {2: ("NHWC", "HWIO", "NHWC"), 3: ("NTHWC", "THWIO", "NTHWC")}  # by the number of axes of a kernel


class ConvNorm(nnx.Module):
    """In two dimensions or three, as many as `size` has. Multiplied in full float32 on every device."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: Sequence[int],
        stride: int = 1,
        padding: str = "SAME",
        *,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (*size, inputs, outputs)))
        self.scale = nnx.Param(jnp.ones(outputs))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.mean = nnx.Param(jnp.zeros(outputs))
        self.variance = nnx.Param(jnp.ones(outputs))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "B *I C"]) -> Float[Array, "B *J D"]:
        return jax.nn.relu(fixed_norm(self, convolve(x, self.kernel[...], self.stride, self.padding), EPSILON))


@runtime_checkable
class Statistics(Protocol):
    """Of a batch norm, as its training left them: a value for each channel."""

    scale: nnx.Param
    bias: nnx.Param
    mean: nnx.Param
    variance: nnx.Param


def fixed_norm(statistics: Statistics, x: Float[Array, "B *J D"], epsilon: float) -> Float[Array, "B *J D"]:
    """Batch norm by the statistics of a training."""
    gain = statistics.scale[...] * jax.lax.rsqrt(statistics.variance[...] + epsilon)
    mean, gain, bias = (along_channels(values, x) for values in (statistics.mean[...], gain, statistics.bias[...]))
    return (x - mean) * gain + bias


def convolve(
    x: Float[Array, "B *I C"], kernel: Float[Array, "*K C D"], stride: int, padding: str | int
) -> Float[Array, "B *J D"]:
    """`padding` is "SAME" as TensorFlow means it (an odd rest goes behind), "VALID", or zeros on every side."""
    axes = kernel.ndim - 2
    if isinstance(padding, int):
        padding = ((padding, padding),) * axes
    numbers, strides = LETTERS[axes], (stride,) * axes
    return jax.lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=numbers, precision=jax.lax.Precision.HIGHEST
    )


def along_channels(values: Float[Array, " D"], x: Float[Array, "B *J D"]) -> Float[Array, "1 *K D"]:
    """A value for each channel, in the rank of `x`."""
    return values.reshape((1,) * (x.ndim - 1) + (-1,))
