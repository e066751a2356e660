"""Layers of the interpolator: channels last, arrays [B, H, W, C]."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.tokenizer.layers import convolution
from actavatar_jax.models.execution import Execution


class PReLU(nnx.Module):
    """Identity above 0, a slope for each channel below."""

    def __init__(self, channels: int):
        self.slope = nnx.Param(jnp.full((channels,), 0.25))

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return jnp.where(x > 0, x, self.slope[...][None, None, None].astype(x.dtype) * x)


class ConvPReLU(nnx.Module):
    """3x3 and PReLU."""

    def __init__(self, inputs: int, outputs: int, execution: Execution, *, stride: int = 1, rngs: nnx.Rngs):
        self.conv = convolution(inputs, outputs, execution, rngs, stride=stride)
        self.prelu = PReLU(outputs)

    def __call__(self, x: Float[Array, "B h w I"]) -> Float[Array, "B H W O"]:
        return self.prelu(self.conv(x))


class Doubling(nnx.Module):
    """A transposed convolution of 4x4 that doubles the side; the kernel is that of PyTorch, [4, 4, in, out]."""

    def __init__(self, inputs: int, outputs: int, execution: Execution, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (4, 4, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros((outputs,)))
        self.products = execution.products

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        dtype, precision = self.products.values()
        y = jax.lax.conv_general_dilated(
            x.astype(dtype),
            self.kernel[...][::-1, ::-1].astype(dtype),
            window_strides=(1, 1),
            padding=((2, 2), (2, 2)),
            lhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        )
        return y + self.bias[...][None, None, None].astype(dtype)


def resize(x: Float[Array, "B H W C"], scale: float | int) -> Float[Array, "B h w C"]:
    """Bilinear between the centres of pixels, without smoothing where it becomes smaller."""
    if scale == 1:
        return x
    B, H, W, C = x.shape
    return jax.image.resize(x, (B, round(H * scale), round(W * scale), C), "linear", antialias=False)


def pixel_shuffle(x: Float[Array, "B H W D"]) -> Float[Array, "B h w C"]:
    """Channels become squares of 2 pixels a side, in PyTorch's order (channel, row, column)."""
    B, H, W, _ = x.shape
    squares = x.reshape(B, H, W, -1, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return squares.reshape(B, 2 * H, 2 * W, -1)


def warp(x: Float[Array, "B H W C"], flow: Float[Array, "B H W 2"]) -> Float[Array, "B H W C"]:
    """At every pixel the value that lies `flow` = (right, below) pixels away, between pixels bilinearly; the picture
    ends at its edges."""
    B, H, W, _ = x.shape
    column = jnp.clip(jnp.arange(W, dtype=flow.dtype)[None, None] + flow[..., 0], 0, W - 1)
    row = jnp.clip(jnp.arange(H, dtype=flow.dtype)[None, :, None] + flow[..., 1], 0, H - 1)
    left, top = jnp.floor(column), jnp.floor(row)
    to_right, to_below = (column - left)[..., None], (row - top)[..., None]
    left, top = left.astype(jnp.int32), top.astype(jnp.int32)
    right, below = jnp.minimum(left + 1, W - 1), jnp.minimum(top + 1, H - 1)
    each = jnp.arange(B)[:, None, None]
    above = x[each, top, left] * (1 - to_right) + x[each, top, right] * to_right
    under = x[each, below, left] * (1 - to_right) + x[each, below, right] * to_right
    return above * (1 - to_below) + under * to_below
