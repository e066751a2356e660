"""Encoder and decoder of Open-MAGVIT2's image tokenizer (TencentARC/SEED-Voken), channels last.

There is no attention and there are no absolute places: any sides that are multiples of the stride will do.
"""

from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.tokenizer.config import LFQConfig
from actavatar_jax.avatarsync.tokenizer.layers import (
    AdaptiveNorm,
    ResidualBlock,
    convolution,
    depth_to_space,
    group_norm,
)
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae.parts import Numbered


class Encoder(nnx.Module):
    """Pixels -> as many numbers at each place as a code has bits."""

    def __init__(self, config: LFQConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e, widths = config, execution, config.widths
        self.conv_in = convolution(3, c.channels, e, rngs, bias=False)
        inputs, levels = (c.channels, *widths), []
        for level, width in enumerate(widths):
            levels.append(Level(inputs[level], width, c, e, down=level + 1 < len(widths), rngs=rngs))
        self.down = Numbered(levels)
        self.mid_block = _middle(c, e, rngs)
        self.norm_out = group_norm(widths[-1], c.groups, rngs)
        self.conv_out = convolution(widths[-1], c.bits, e, rngs, size=1)

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B H W K"]:
        x = self.conv_in(pixels)
        for level in self.down.in_order():
            x = level(x)
        for block in self.mid_block.in_order():
            x = block(x)
        return self.conv_out(nnx.silu(self.norm_out(x)))


class Level(nnx.Module):
    """Residual blocks, and half the side behind them."""

    def __init__(
        self, inputs: int, outputs: int, config: LFQConfig, execution: Execution, *, down: bool, rngs: nnx.Rngs
    ):
        blocks = ((inputs if i == 0 else outputs, outputs) for i in range(config.blocks))
        self.block = Numbered(ResidualBlock(i, o, config.groups, execution, rngs=rngs) for i, o in blocks)
        if down:
            self.downsample = convolution(outputs, outputs, execution, rngs, stride=2)

    def __call__(self, x: Float[Array, "B h w I"]) -> Float[Array, "B H W O"]:
        for block in self.block.in_order():
            x = block(x)
        return self.downsample(x) if hasattr(self, "downsample") else x


class Decoder(nnx.Module):
    """Codes -> pixels; what is normalised is told by all codes of the picture, so each token changes every pixel."""

    def __init__(self, config: LFQConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e, widths = config, execution, config.widths
        outputs = (*widths[1:], widths[-1])  # into each level, from the coarser one
        self.conv_in = convolution(c.bits, widths[-1], e, rngs)
        self.mid_block = _middle(c, e, rngs)
        self.adaptive = Numbered(AdaptiveNorm(c.bits, width, c.groups, rngs=rngs) for width in outputs)
        self.up = Numbered(
            UpLevel(inputs, width, c, e, up=level > 0, rngs=rngs)
            for level, (inputs, width) in enumerate(zip(outputs, widths, strict=True))
        )
        self.norm_out = group_norm(c.channels, c.groups, rngs)
        self.conv_out = convolution(c.channels, 3, e, rngs)

    def __call__(self, codes: Float[Array, "B H W K"]) -> Float[Array, "B h w 3"]:
        x = self.conv_in(codes)
        for block in self.mid_block.in_order():
            x = block(x)
        levels = list(zip(self.adaptive.in_order(), self.up.in_order(), strict=True))
        for adaptive, level in reversed(levels):
            x = level(adaptive(x, codes))
        return self.conv_out(nnx.silu(self.norm_out(x)))


class UpLevel(nnx.Module):
    """Residual blocks, and twice the side behind them."""

    def __init__(self, inputs: int, outputs: int, config: LFQConfig, execution: Execution, *, up: bool, rngs: nnx.Rngs):
        blocks = ((inputs if i == 0 else outputs, outputs) for i in range(config.blocks))
        self.block = Numbered(ResidualBlock(i, o, config.groups, execution, rngs=rngs) for i, o in blocks)
        if up:
            self.upsample = convolution(outputs, 4 * outputs, execution, rngs)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        for block in self.block.in_order():
            x = block(x)
        return depth_to_space(self.upsample(x)) if hasattr(self, "upsample") else x


def _middle(config: LFQConfig, execution: Execution, rngs: nnx.Rngs) -> Numbered:
    """Residual blocks at the coarsest level."""
    width = config.widths[-1]
    return Numbered(ResidualBlock(width, width, config.groups, execution, rngs=rngs) for _ in range(config.blocks))
