"""Encoder and decoder of the small tokenizer: two scales, and a learned map of places in each of the two."""

from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.tokenizer.config import SmallLFQConfig
from actavatar_jax.avatarsync.tokenizer.layers import (
    ResidualBlock,
    convolution,
    depth_to_space,
    group_norm,
    place_map,
    space_to_depth,
)
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae.parts import Numbered


class SmallEncoder(nnx.Module):
    """Pixels -> as many numbers at each place as a code has bits."""

    def __init__(self, config: SmallLFQConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e, (fine, coarse) = config, execution, config.widths
        self.conv_in = convolution(3 * c.patch**2, fine, e, rngs)
        self.fine = _blocks(2, fine, c, e, rngs)
        self.downsample = convolution(fine, coarse, e, rngs, stride=2)
        self.place = place_map(*c.tokens, coarse, rngs)
        self.coarse = _blocks(2, coarse, c, e, rngs)
        self.norm_out = group_norm(coarse, c.groups, rngs)
        self.conv_out = convolution(coarse, c.bits, e, rngs, size=1)
        self.patch = c.patch

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B H W K"]:
        x = self.conv_in(space_to_depth(pixels, self.patch))
        for block in self.fine.in_order():
            x = block(x)
        x = self.downsample(x) + self.place[...][None]
        for block in self.coarse.in_order():
            x = block(x)
        return self.conv_out(nnx.silu(self.norm_out(x)))


class SmallDecoder(nnx.Module):
    """Codes -> pixels."""

    def __init__(self, config: SmallLFQConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e, (fine, coarse) = config, execution, config.widths
        self.conv_in = convolution(c.bits, coarse, e, rngs)
        self.place = place_map(*c.tokens, coarse, rngs)
        self.coarse = _blocks(3, coarse, c, e, rngs)
        self.upsample = convolution(coarse, 4 * fine, e, rngs)
        self.fine = _blocks(2, fine, c, e, rngs)
        self.norm_out = group_norm(fine, c.groups, rngs)
        self.conv_out = convolution(fine, 3 * c.patch**2, e, rngs)
        self.patch = c.patch

    def __call__(self, codes: Float[Array, "B H W K"]) -> Float[Array, "B h w 3"]:
        x = self.conv_in(codes) + self.place[...][None]
        for block in self.coarse.in_order():
            x = block(x)
        x = depth_to_space(self.upsample(x))
        for block in self.fine.in_order():
            x = block(x)
        return depth_to_space(self.conv_out(nnx.silu(self.norm_out(x))), self.patch)


def _blocks(count: int, width: int, config: SmallLFQConfig, execution: Execution, rngs: nnx.Rngs) -> Numbered:
    """They start as the identity."""
    return Numbered(
        ResidualBlock(width, width, config.groups, execution, bias=True, last_init=nnx.initializers.zeros, rngs=rngs)
        for _ in range(count)
    )
