"""Layers of the VAEs of Wan: causal in time, channels last, arrays [B, T, H, W, C].

Every layer that looks back in time takes a `Memory`. A whole video is the case in which nothing came before and
nothing follows; a stream is the same code run chunk by chunk with the memory handed on.
"""

from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.models.execution import Execution


class Memory:
    """What causal layers hand from one chunk of frames to the next, in the order in which the layers run.

    `Memory()` starts a video that goes on, `Memory(carry)` continues it, `Memory(whole=True)` is a whole video at
    once. After the layers have run, `carry` holds arrays of fixed shapes for the next chunk.
    """

    def __init__(self, carry: tuple[jax.Array, ...] | None = None, *, whole: bool = False):
        self.first = carry is None
        self.whole = whole
        self._past = iter(carry or ())
        self._kept: list[jax.Array] = []

    def recall(self) -> jax.Array:
        """What this layer kept at the chunk before."""
        return next(self._past)

    def keep(self, value: jax.Array) -> None:
        """Stores what this layer will recall at the next chunk."""
        self._kept.append(value)

    @property
    def carry(self) -> tuple[jax.Array, ...]:
        """Everything kept, in order: the argument of the next chunk's `Memory`."""
        return tuple(self._kept)


class Numbered(nnx.Dict):
    """Modules under the names "0", "1", ...: parameter paths of strings alone (`nnx.List` gives integers)."""

    def __init__(self, modules: Iterable[nnx.Module]):
        super().__init__({str(i): module for i, module in enumerate(modules)})

    def in_order(self) -> list[nnx.Module]:
        """The modules by number."""
        return [self[str(i)] for i in range(len(self))]


class CausalConv(nnx.Module):
    """3-D convolution: zeros around the frame in space, only earlier frames in time (none before the first).

    Computed as one 2-D convolution to `kt * O` channels and an overlap-add in time: each frame adds to its own output
    and to the next `kt - 1`. On CPUs this is 3 to 6 times as fast as a native 3-D convolution, and in a stream what
    reaches past the chunk is all there is to remember.
    """

    def __init__(
        self, in_channels: int, out_channels: int, size: Sequence[int], *, execution: Execution, rngs: nnx.Rngs
    ):
        shape = (*size, in_channels, out_channels)
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros((out_channels,)))
        self.products = execution.products

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B T H W O"]:
        B, T, H, W, _ = x.shape
        kt, kh, kw, I, O = self.kernel.shape  # noqa: E741
        # Of a whole video shorter than the kernel (an image), the oldest taps would only meet zeros.
        taps = max(1, min(kt, T)) if memory.whole else kt
        dtype, precision = self.products.values()
        kernel = jnp.moveaxis(self.kernel[-taps:].astype(dtype), 0, 3).reshape(kh, kw, I, taps * O)
        parts = jax.lax.conv_general_dilated(
            x.astype(dtype).reshape(B * T, H, W, I),
            kernel,
            window_strides=(1, 1),
            padding=((kh // 2, kh // 2), (kw // 2, kw // 2)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        ).reshape(B, T, H, W, taps, O)
        # Tap j (0 is the oldest) of frame t belongs to output frame t + taps - 1 - j.
        total = sum(jnp.pad(parts[..., j, :], ((0, 0), (taps - 1 - j, j), (0, 0), (0, 0), (0, 0))) for j in range(taps))
        if not memory.first:
            total = total.at[:, : kt - 1].add(memory.recall())
        if not memory.whole:
            memory.keep(total[:, T:])
        return total[:, :T] + _last_axis(self.bias, total)


class ChannelNorm(nnx.Module):
    """Unit RMS over channels at each position, times a gain; computed in float32."""

    def __init__(self, channels: int):
        self.scale = nnx.Param(jnp.ones((channels,)))

    def __call__(self, x: Float[Array, "*shape C"]) -> Float[Array, "*shape C"]:
        wide = x.astype(jnp.float32)
        square = jnp.sum(wide * wide, axis=-1, keepdims=True)
        unit = wide * jax.lax.rsqrt(jnp.maximum(square, 1e-24))
        return (unit * x.shape[-1] ** 0.5 * _last_axis(self.scale, wide)).astype(x.dtype)


class ResidualBlock(nnx.Module):
    """Norm, SiLU, causal 3x3x3 convolution, twice; the input is added, through a linear map if channels change."""

    def __init__(self, in_channels: int, out_channels: int, *, execution: Execution, rngs: nnx.Rngs):
        self.norm1 = ChannelNorm(in_channels)
        self.conv1 = CausalConv(in_channels, out_channels, (3, 3, 3), execution=execution, rngs=rngs)
        self.norm2 = ChannelNorm(out_channels)
        self.conv2 = CausalConv(out_channels, out_channels, (3, 3, 3), execution=execution, rngs=rngs)
        if in_channels != out_channels:
            self.shortcut = nnx.Linear(in_channels, out_channels, rngs=rngs, **execution.products)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B T H W O"]:
        y = self.conv1(jax.nn.silu(self.norm1(x)), memory)
        y = self.conv2(jax.nn.silu(self.norm2(y)), memory)
        return y + (self.shortcut(x) if hasattr(self, "shortcut") else x)


class FrameAttention(nnx.Module):
    """One-head self-attention among the positions of each frame, never across time."""

    def __init__(self, channels: int, *, execution: Execution, rngs: nnx.Rngs):
        self.norm = ChannelNorm(channels)
        self.to_qkv = nnx.Linear(channels, 3 * channels, rngs=rngs, **execution.products)
        self.proj = nnx.Linear(channels, channels, rngs=rngs, **execution.products)
        self.precision = execution.precision

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B T H W C"]:
        B, T, H, W, C = x.shape
        query, key, value = jnp.split(self.to_qkv(self.norm(x)).reshape(B * T, H * W, 1, 3 * C), 3, axis=-1)
        with jax.default_matmul_precision(self.precision):
            mixed = jax.nn.dot_product_attention(query, key, value)
        return x + self.proj(mixed.reshape(x.shape))


class Middle(nnx.Module):
    """Residual block, attention, residual block at the coarsest resolution."""

    def __init__(self, channels: int, *, execution: Execution, rngs: nnx.Rngs):
        self.before = ResidualBlock(channels, channels, execution=execution, rngs=rngs)
        self.attention = FrameAttention(channels, execution=execution, rngs=rngs)
        self.after = ResidualBlock(channels, channels, execution=execution, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"], memory: Memory) -> Float[Array, "B T H W C"]:
        return self.after(self.attention(self.before(x, memory)), memory)


class Downsample(nnx.Module):
    """Halves height and width by a convolution and, if `temporal`, then the frames after the first."""

    def __init__(self, channels: int, temporal: bool, *, execution: Execution, rngs: nnx.Rngs):
        padding = ((0, 1), (0, 1))  # right and bottom only
        self.spatial = nnx.Conv(channels, channels, (3, 3), strides=2, padding=padding, rngs=rngs, **execution.products)
        if temporal:
            self.temporal = CausalConv(channels, channels, (3, 1, 1), execution=execution, rngs=rngs)

    def __call__(self, x: Float[Array, "B T H W C"], memory: Memory) -> Float[Array, "B t h w C"]:
        x = self.spatial(x)
        return self._halve_time(x, memory) if hasattr(self, "temporal") else x

    def _halve_time(self, x: Float[Array, "B T H W C"], memory: Memory) -> Float[Array, "B t H W C"]:
        """Output j >= 1 sees frames 2j-2, 2j-1, 2j; frame 0 passes untouched, so T = 1 + 2m gives 1 + m."""
        frames = x if memory.first else jnp.concatenate([memory.recall(), x], axis=1)
        if not memory.whole:
            memory.keep(x[:, -1:])
        oldest, middle, newest = self.temporal.kernel[:, 0, 0].astype(x.dtype)
        with jax.default_matmul_precision(self.temporal.products["precision"]):
            halved = frames[:, :-1:2] @ oldest + frames[:, 1::2] @ middle + frames[:, 2::2] @ newest
        halved = halved + _last_axis(self.temporal.bias, halved)
        return jnp.concatenate([x[:, :1], halved], axis=1) if memory.first else halved


class Upsample(nnx.Module):
    """If `temporal`, two frames for each after the first; then doubles height and width."""

    def __init__(self, in_channels: int, out_channels: int, temporal: bool, *, execution: Execution, rngs: nnx.Rngs):
        if temporal:
            self.temporal = CausalConv(in_channels, 2 * in_channels, (3, 1, 1), execution=execution, rngs=rngs)
        self.spatial = nnx.Conv(in_channels, out_channels, (3, 3), padding=1, rngs=rngs, **execution.products)

    def __call__(self, x: Float[Array, "B T H W I"], memory: Memory) -> Float[Array, "B t h w O"]:
        if hasattr(self, "temporal"):
            x = self._double_time(x, memory)
        return self.spatial(jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3))

    def _double_time(self, x: Float[Array, "B T H W C"], memory: Memory) -> Float[Array, "B t H W C"]:
        """Frame 0 passes untouched and unseen: the convolution starts at frame 1. T gives 1 + 2 (T - 1)."""
        untouched = 1 if memory.first else 0
        pairs = self.temporal(x[:, untouched:], memory)
        B, T, H, W, C = (*pairs.shape[:4], x.shape[-1])
        pairs = jnp.moveaxis(pairs.reshape(B, T, H, W, 2, C), 4, 2).reshape(B, 2 * T, H, W, C)
        return jnp.concatenate([x[:, :untouched], pairs], axis=1)


def average_down(x: Float[Array, "B T H W I"], channels: int, time: int, space: int) -> Float[Array, "B t h w O"]:
    """Parameter-free shortcut past a `Downsample`: cells to channels, then means of groups of channels."""
    x = jnp.pad(x, ((0, 0), (-x.shape[1] % time, 0), (0, 0), (0, 0), (0, 0)))
    B, T, H, W, C = x.shape
    x = x.reshape(B, T // time, time, H // space, space, W // space, space, C)
    x = x.transpose(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(*x.shape[:4], channels, C * time * space * space // channels).mean(axis=-1)


def repeat_up(
    x: Float[Array, "B T H W I"], channels: int, time: int, space: int, memory: Memory
) -> Float[Array, "B t h w O"]:
    """Parameter-free shortcut past an `Upsample`: repeated channels to cells; frame 0 becomes one frame."""
    B, T, H, W, C = x.shape
    x = jnp.repeat(x, channels * time * space * space // C, axis=-1)
    x = x.reshape(B, T, H, W, channels, time, space, space)
    x = x.transpose(0, 1, 5, 2, 6, 3, 7, 4).reshape(B, T * time, H * space, W * space, channels)
    return x[:, time - 1 :] if memory.first else x


def patchify(pixels: Float[Array, "B F h w c"], patch: int) -> Float[Array, "B F H W C"]:
    """Patches to channels, ordered (colour, column within the patch, row within the patch)."""
    B, F, h, w, c = pixels.shape
    x = pixels.reshape(B, F, h // patch, patch, w // patch, patch, c).transpose(0, 1, 2, 4, 6, 5, 3)
    return x.reshape(B, F, h // patch, w // patch, c * patch * patch)


def unpatchify(x: Float[Array, "B F H W C"], patch: int) -> Float[Array, "B F h w c"]:
    """Inverse of `patchify`."""
    B, F, H, W, C = x.shape
    x = x.reshape(B, F, H, W, C // patch**2, patch, patch).transpose(0, 1, 2, 6, 3, 5, 4)
    return x.reshape(B, F, H * patch, W * patch, C // patch**2)


def _last_axis(vector: nnx.Param, like: jax.Array) -> jax.Array:
    """`vector` ready to meet the channels of `like`: its dtype and rank."""
    return vector[...].astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))
