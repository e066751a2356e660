"""Wav2Vec 2.0: speech at 16 kHz -> the hidden states of every layer, at the native 50 Hz or one per video frame.

B batch, T encoder positions, D width, N heads, K head dim, F feed-forward, C convolution channels.
Source: wav2vec 2.0 (arXiv 2006.11477); published weights come in two variants, which differ in their norms only.
"""

import dataclasses
import math
import typing

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from actavatar_jax.checks import Limit, check_fields, each, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.attention import attention
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import gelu, layer_norm, linear
from actavatar_jax.models.limits import DEPTH, EPSILON, SIDE, SIDES, SIZE


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Wav2Vec2Config:
    """Defaults are wav2vec2-base; `wav2vec2_large` is the other published variant."""

    hidden: int = 768
    layers: int = 12
    heads: int = 12
    ffn: int = 3072
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    conv_norm: str = (
        "group"  # group: each channel over the whole clip, first layer only | layer: over channels, every layer
    )
    stable_layer_norm: bool = False  # norms before attention and feed-forward instead of after them
    pos_conv_kernel: int = 128
    pos_conv_groups: int = 16
    eps: float = 1e-5

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("hidden", "heads", "ffn"), SIZE),
        "conv_dim": each(SIZE, 16),
        **dict.fromkeys(("conv_kernel", "conv_stride"), SIDES),
        **dict.fromkeys(("pos_conv_kernel", "pos_conv_groups"), SIDE),
        "layers": DEPTH,
        "conv_norm": one_of("group", "layer"),
        "eps": EPSILON,
    }

    def __post_init__(self):
        check_fields(self, "audio encoder's ", **self.LIMITS)
        if self.hidden % self.heads or self.hidden % self.pos_conv_groups:
            raise InputError(
                f"Wav2Vec2 got a width of {self.hidden}, {self.heads} heads and {self.pos_conv_groups} groups of its "
                "positional convolution; the width must be a multiple of both."
            )
        if not len(self.conv_dim) == len(self.conv_kernel) == len(self.conv_stride):
            raise InputError(
                "Wav2Vec2 needs as many conv_kernel and conv_stride as conv_dim entries, got "
                f"{len(self.conv_kernel)}, {len(self.conv_stride)} and {len(self.conv_dim)}."
            )

    @property
    def receptive_field(self) -> int:
        """Samples behind one position: 400 in the published models."""
        strides = [math.prod(self.conv_stride[:i]) for i in range(len(self.conv_stride))]
        return 1 + sum((kernel - 1) * stride for kernel, stride in zip(self.conv_kernel, strides, strict=True))


def wav2vec2_large() -> Wav2Vec2Config:
    """The layer-norm variant of wav2vec2-large-xlsr-53 and chinese-wav2vec2-large."""
    return Wav2Vec2Config(
        hidden=1024, layers=24, heads=16, ffn=4096, conv_bias=True, conv_norm="layer", stable_layer_norm=True
    )


class Wav2Vec2(nnx.Module):
    """Convolutions, projection, positional convolution, transformer."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.config, self.execution = c, e
        self.conv_layers = nnx.Dict({str(i): ConvLayer(c, e, i, rngs=rngs) for i in range(len(c.conv_dim))})
        self.projection_norm = layer_norm(c.conv_dim[-1], epsilon=c.eps, rngs=rngs)
        self.projection = linear(c.conv_dim[-1], c.hidden, e, rngs)
        # Stands for masked positions in pre-training; here only so that weights go in and out without loss.
        self.masked_spec_embed = nnx.Param(jax.random.uniform(rngs.params(), (c.hidden,)))
        self.position = PositionalConv(c, e, rngs=rngs)
        self.norm = layer_norm(c.hidden, epsilon=c.eps, rngs=rngs)
        self.layers = nnx.vmap(lambda r: Layer(c, e, rngs=r))(rngs.split(c.layers))

    def __call__(self, waveform: Float[Array, "B samples"], frames: int | None = None) -> Float[Array, "B T states D"]:
        """Float32 hidden states of a standardised 16 kHz waveform, layers + 1 of them.

        Args:
          waveform: whole clips without padding: there is no mask, and the group norm sees the whole clip.
          frames: how many positions the encoder runs at; the convolutions' output is interpolated to that many. `None`
            keeps the native rate, `(samples - 400) // 320 + 1` positions.

        Returns:
          State 0 is the input of the first layer, state i the output of layer i; the last one is always after the last
          norm (in the stable variant the encoder's final norm, as in transformers 4).

        Raises:
          InputError: the waveform is shorter than the receptive field of one position.
        """
        c = self.config
        if waveform.shape[1] < c.receptive_field:
            raise InputError(
                f"Wav2Vec2 got {waveform.shape[1]} samples of speech; it takes at least {c.receptive_field}."
            )
        x = waveform[..., None].astype(self.execution.dtype)
        for i in range(len(c.conv_dim)):
            x = self.conv_layers[str(i)](x)
        if frames is not None:
            x = interpolate(x, frames)
        x = self.projection(self.projection_norm(x))
        x = (x + self.position(x)).astype(jnp.float32)
        if not c.stable_layer_norm:
            x = self.norm(x)

        def body(x, layer):
            x = layer(x)
            return x, x

        last, states = jax.lax.scan(body, x, self.layers)
        if c.stable_layer_norm:
            states = states.at[-1].set(self.norm(last))
        return jnp.moveaxis(jnp.concatenate([x[None], states]), 0, 2)


class ConvLayer(nnx.Module):
    """One strided convolution of the waveform with its norm, then GELU."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution, index: int, *, rngs: nnx.Rngs):
        c = config
        self.conv = nnx.Conv(
            c.conv_dim[index - 1] if index else 1,
            c.conv_dim[index],
            kernel_size=c.conv_kernel[index],
            strides=c.conv_stride[index],
            padding="VALID",
            use_bias=c.conv_bias,
            kernel_init=nnx.initializers.he_normal(),
            rngs=rngs,
            **execution.products,
        )
        self.kind = c.conv_norm if c.conv_norm == "layer" or index == 0 else "none"
        if self.kind == "group":
            self.norm = ChannelNorm(c.conv_dim[index], c.eps, rngs=rngs)
        elif self.kind == "layer":
            self.norm = layer_norm(c.conv_dim[index], epsilon=c.eps, rngs=rngs)

    def __call__(self, x: Float[Array, "B samples I"]) -> Float[Array, "B T C"]:
        x = self.conv(x)
        return gelu(x if self.kind == "none" else self.norm(x).astype(x.dtype))


class ChannelNorm(nnx.Module):
    """Group norm with one channel per group: each channel over time, in float32."""

    def __init__(self, channels: int, epsilon: float, *, rngs: nnx.Rngs):
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "B T C"]) -> Float[Array, "B T C"]:
        x = x.astype(jnp.float32)
        x = x - x.mean(axis=1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.square(x).mean(axis=1, keepdims=True) + self.epsilon)
        return x * self.scale[...][None, None] + self.bias[...][None, None]


class PositionalConv(nnx.Module):
    """Grouped convolution over time whose weight is normed per tap: `gain[k] direction[k] / |direction[k]|`."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution, *, rngs: nnx.Rngs):
        c = config
        inputs = c.hidden // c.pos_conv_groups
        deviation = 2 / math.sqrt(c.pos_conv_kernel * c.hidden)
        self.direction = nnx.Param(deviation * jax.random.normal(rngs.params(), (c.pos_conv_kernel, inputs, c.hidden)))
        self.gain = nnx.Param(jnp.sqrt(jnp.square(self.direction[...]).sum(axis=(1, 2))))
        self.bias = nnx.Param(jnp.zeros(c.hidden))
        self.groups, self.products = c.pos_conv_groups, execution.products

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        direction = self.direction[...].astype(jnp.float32)
        norm = jnp.sqrt(jnp.square(direction).sum(axis=(1, 2), keepdims=True))
        dtype, precision = self.products.values()
        kernel = (self.gain[...].reshape(-1, 1, 1) / norm * direction).astype(dtype)
        taps = kernel.shape[0]
        x = jax.lax.conv_general_dilated(
            x.astype(dtype),
            kernel,
            window_strides=(1,),
            padding=[(taps // 2, (taps - 1) // 2)],  # an even kernel reaches one position further back than ahead
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups,
            precision=precision,
        )
        return gelu(x + self.bias[...].astype(dtype)[None, None])


class Layer(nnx.Module):
    """Self-attention and feed-forward, normed after each residual sum (base) or before each part (stable)."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution, *, rngs: nnx.Rngs):
        c = config
        self.self_attn = SelfAttention(c, execution, rngs=rngs)
        self.attn_norm = layer_norm(c.hidden, epsilon=c.eps, rngs=rngs)
        self.ffn = FeedForward(c, execution, rngs=rngs)
        self.ffn_norm = layer_norm(c.hidden, epsilon=c.eps, rngs=rngs)
        self.stable = c.stable_layer_norm

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        if self.stable:
            x = x + self.self_attn(self.attn_norm(x))
            return x + self.ffn(self.ffn_norm(x))
        x = self.attn_norm(x + self.self_attn(x))
        return self.ffn_norm(x + self.ffn(x))


class SelfAttention(nnx.Module):
    """Plain attention over the whole clip."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution, *, rngs: nnx.Rngs):
        for name in ("query", "key", "value", "out"):
            setattr(self, name, linear(config.hidden, config.hidden, execution, rngs))
        self.heads = config.heads
        # Ten minutes of speech are 15,000 positions at the video's rate.
        self.execution = dataclasses.replace(execution, attention="chunked")

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        q, k, v = (project(x).reshape(*x.shape[:2], self.heads, -1) for project in (self.query, self.key, self.value))
        return self.out(attention(q, k, v, self.execution).reshape(x.shape))


class FeedForward(nnx.Module):
    """Linear, GELU, linear."""

    def __init__(self, config: Wav2Vec2Config, execution: Execution, *, rngs: nnx.Rngs):
        self.up = linear(config.hidden, config.ffn, execution, rngs)
        self.down = linear(config.ffn, config.hidden, execution, rngs)

    def __call__(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self.down(gelu(self.up(x)))


def standardise(waveform: Float[Array, "*B samples"]) -> Float[Array, "*B samples"]:
    """Zero mean and unit variance over each whole clip, as the published feature extractors do; silence stays zero."""
    waveform = waveform - waveform.mean(axis=-1, keepdims=True)
    return waveform * jax.lax.rsqrt(jnp.square(waveform).mean(axis=-1, keepdims=True) + 1e-7)


def interpolate(x: Float[Array, "B T C"], frames: int) -> Float[Array, "B frames C"]:
    """Linear interpolation in time with aligned corners: output k lies at input position `k (T - 1) / (frames - 1)`."""
    below, above, weight = interpolation_points(x.shape[1], frames)
    weight = jnp.asarray(weight)[None, :, None]
    y = x[:, below].astype(jnp.float32) * (1 - weight) + x[:, above].astype(jnp.float32) * weight
    return y.astype(x.dtype)


def interpolation_points(
    length: int, frames: int
) -> tuple[Int[np.ndarray, " frames"], Int[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """The two neighbours of each output and the weight of the later one, in whole numbers as far as possible."""
    position, steps = np.arange(frames) * (length - 1), max(frames - 1, 1)
    below, remainder = np.divmod(position, steps)
    return below, np.minimum(below + 1, length - 1), (remainder / steps).astype(np.float32)
