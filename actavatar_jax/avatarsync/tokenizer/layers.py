"""Layers of the tokenizers: channels last, arrays [B, H, W, C]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.models.execution import Execution

EPSILON = 1e-6


def convolution(
    inputs: int,
    outputs: int,
    execution: Execution,
    rngs: nnx.Rngs,
    *,
    size: int = 3,
    stride: int = 1,
    bias: bool = True,
    kernel_init: Callable = nnx.initializers.lecun_normal(),  # noqa: B008 - a pure function
) -> nnx.Conv:
    """A square convolution with zeros around the picture, the same on all sides."""
    around = (size // 2, size // 2)
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        padding=(around, around),
        use_bias=bias,
        kernel_init=kernel_init,
        rngs=rngs,
        **execution.products,
    )


def group_norm(channels: int, groups: int, rngs: nnx.Rngs, affine: bool = True) -> nnx.GroupNorm:
    """GroupNorm over the whole picture, computed and returned in float32."""
    return nnx.GroupNorm(
        channels,
        groups,
        epsilon=EPSILON,
        use_bias=affine,
        use_scale=affine,
        dtype=jnp.float32,
        use_fast_variance=False,
        rngs=rngs,
    )


class ResidualBlock(nnx.Module):
    """Norm, swish, 3x3 convolution, twice; the input is added, through a linear map where channels change."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        groups: int,
        execution: Execution,
        *,
        bias: bool = False,
        last_init: Callable = nnx.initializers.lecun_normal(),  # noqa: B008 - a pure function
        rngs: nnx.Rngs,
    ):
        self.norm1 = group_norm(inputs, groups, rngs)
        self.conv1 = convolution(inputs, outputs, execution, rngs, bias=bias)
        self.norm2 = group_norm(outputs, groups, rngs)
        self.conv2 = convolution(outputs, outputs, execution, rngs, bias=bias, kernel_init=last_init)
        if inputs != outputs:
            self.shortcut = convolution(inputs, outputs, execution, rngs, size=1, bias=False)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W O"]:
        y = self.conv1(nnx.silu(self.norm1(x)))
        y = self.conv2(nnx.silu(self.norm2(y)))
        return y + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class AdaptiveNorm(nnx.Module):
    """GroupNorm whose gain and bias are told by the spread and the mean of all tokens of the picture."""

    def __init__(self, bits: int, channels: int, groups: int, *, rngs: nnx.Rngs):
        self.norm = group_norm(channels, groups, rngs, affine=False)
        self.gamma = nnx.Linear(bits, channels, rngs=rngs)
        self.beta = nnx.Linear(bits, channels, rngs=rngs)

    def __call__(self, x: Float[Array, "B H W C"], codes: Float[Array, "B I J K"]) -> Float[Array, "B H W C"]:
        positions = codes.astype(jnp.float32).reshape(len(codes), -1, codes.shape[-1])
        mean = positions.mean(1)
        spread = jnp.sqrt(positions.var(1, ddof=1) + EPSILON)  # of n - 1, as the original has it
        gain, bias = self.gamma(spread), self.beta(mean)
        return self.norm(x) * gain[:, None, None] + bias[:, None, None]


def depth_to_space(x: Float[Array, "B H W D"], size: int = 2) -> Float[Array, "B h w C"]:
    """Channels become squares of `size` pixels a side, in the order (row, column, channel)."""
    B, H, W, _ = x.shape
    squares = x.reshape(B, H, W, size, size, -1).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(B, H * size, W * size, -1)


def space_to_depth(x: Float[Array, "B h w C"], size: int = 2) -> Float[Array, "B H W D"]:
    """Inverse of `depth_to_space`."""
    B, h, w, C = x.shape
    squares = x.reshape(B, h // size, size, w // size, size, C).transpose(0, 1, 3, 2, 4, 5)
    return squares.reshape(B, h // size, w // size, -1)


def place_map(rows: int, columns: int, channels: int, rngs: nnx.Rngs) -> nnx.Param:
    """What is added at every place: where everything has its place, knowing it is worth more than 4 dB."""
    return nnx.Param(0.02 * jax.random.normal(rngs.params(), (rows, columns, channels)))
