"""Where a frame in between finds its pixels: flow to both frames and the mask that blends them, from coarse to fine.

B frames in between, h w pixels, H W places of a coarser grid. Channels of flow: (right, below) in the first frame,
(right, below) in the second.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.layers import ConvPReLU, Doubling, pixel_shuffle, resize, warp
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae.parts import Numbered


class Motion(NamedTuple):
    """Flow in pixels, and the logit of the first frame's share."""

    flow: Float[Array, "B h w 4"]
    mask: Float[Array, "B h w 1"]

    def add(self, other: "Motion") -> "Motion":
        """The sum of both."""
        return Motion(self.flow + other.flow, self.mask + other.mask)

    def warped(self, first: Float[Array, "B h w C"], second: Float[Array, "B h w C"]) -> tuple[Array, Array]:
        """Both pictures, or their features, as they look in between."""
        return warp(first, self.flow[..., :2]), warp(second, self.flow[..., 2:])

    def blend(self, first: Float[Array, "B h w C"], second: Float[Array, "B h w C"]) -> Float[Array, "B h w C"]:
        """The warped pictures, mixed."""
        share = nnx.sigmoid(self.mask)
        warped = self.warped(first, second)
        return warped[0] * share + warped[1] * (1 - share)

    def inputs(self, first: Float[Array, "B h w 3"], second: Float[Array, "B h w 3"]) -> list[Array]:
        """What the next one sees of it: pictures, warped pictures, mask."""
        return [first, second, *self.warped(first, second), self.mask]


class MotionHead(nnx.Module):
    """Motion from the features of one stage, pictures, t, and the motion that a coarser head has found."""

    def __init__(self, stage: int, config: InterpolatorConfig, execution: Execution, *, first: bool, rngs: nnx.Rngs):
        width, hidden = config.widths[stage], 4 * config.channels
        self.scale = 2**stage // 4  # of pictures to what it works on
        inputs = 2 * width // 16 + (7 if first else 18)
        sizes = ((inputs, hidden), (hidden, hidden), (hidden, 5))
        self.convs = Numbered(ConvPReLU(*size, execution, rngs=rngs) for size in sizes)

    def __call__(
        self, features: Float[Array, "B H W C"], pictures: list[Array], flow: Float[Array, "B h w 4"] | None
    ) -> Motion:
        features = pixel_shuffle(pixel_shuffle(features))
        seen = [features, resize(jnp.concatenate(pictures, axis=-1), 1 / self.scale)]
        seen += [] if flow is None else [resize(flow, 1 / self.scale) / self.scale]
        x = jnp.concatenate(seen, axis=-1)
        for conv in self.convs.in_order():
            x = conv(x)
        x = resize(x.astype(jnp.float32), self.scale)
        return Motion(self.scale * x[..., :4], x[..., 4:])


class LocalRefinement(nnx.Module):
    """What pictures and warped pictures say of the motion; it is not told t."""

    def __init__(self, scale: int, config: InterpolatorConfig, execution: Execution, *, rngs: nnx.Rngs):
        narrow, wide = 2 * config.channels, 4 * config.channels
        self.scale = scale
        sizes = ((17, narrow), (narrow, wide))
        self.down = Numbered(ConvPReLU(*size, execution, stride=2, rngs=rngs) for size in sizes)
        self.convs = Numbered(ConvPReLU(wide, wide, execution, rngs=rngs) for _ in range(8))
        self.last = Doubling(wide, 5, execution, rngs=rngs)

    def __call__(self, first: Float[Array, "B h w 3"], second: Float[Array, "B h w 3"], motion: Motion) -> Motion:
        pictures = jnp.concatenate(motion.inputs(first, second), axis=-1)
        flow = resize(motion.flow, 1 / self.scale) / self.scale
        x = jnp.concatenate([resize(pictures, 1 / self.scale), flow], axis=-1)
        for conv in self.down.in_order():
            x = conv(x)
        y = x
        for conv in self.convs.in_order():
            y = conv(y)
        x = resize(self.last(x + y).astype(jnp.float32), 2 * self.scale)
        return Motion(2 * self.scale * x[..., :4], x[..., 4:])
