"""What warping cannot give: a residual in [-1, 1], from pictures, motion, and features warped at every scale."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.flow import Motion
from actavatar_jax.avatarsync.interpolation.layers import ConvPReLU, Doubling, PReLU, resize
from actavatar_jax.avatarsync.tokenizer.layers import convolution
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.wan_vae.parts import Numbered


class UNet(nnx.Module):
    """B frames in between, h w pixels."""

    def __init__(self, config: InterpolatorConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e = 2 * config.channels, execution
        self.down = Numbered(
            Down(inputs, outputs, e, rngs=rngs)
            for inputs, outputs in ((17 + c, 2 * c), (4 * c, 4 * c), (8 * c, 8 * c), (16 * c, 16 * c))
        )
        self.up = Numbered(
            Up(inputs, outputs, e, rngs=rngs)
            for inputs, outputs in ((32 * c, 8 * c), (16 * c, 4 * c), (8 * c, 2 * c), (4 * c, c))
        )
        self.out = convolution(c, 3, e, rngs)

    def __call__(
        self,
        first: Float[Array, "B h w 3"],
        second: Float[Array, "B h w 3"],
        motion: Motion,
        features: list[Array],
    ) -> Float[Array, "B h w 3"]:
        """`features` are those of both frames, [B, 2, H, W, C], from fine to coarse."""
        warped = _warp_features(features, motion)
        x = jnp.concatenate([*motion.inputs(first, second), motion.flow], axis=-1)
        passed = []
        for down, seen in zip(self.down.in_order(), warped[:-1], strict=True):
            x = down(jnp.concatenate([x, seen], axis=-1))
            passed.append(x)
        for up, seen in zip(self.up.in_order(), (warped[-1], *passed[-2::-1]), strict=True):
            x = up(jnp.concatenate([x, seen], axis=-1))
        return 2 * nnx.sigmoid(self.out(x).astype(jnp.float32)) - 1


class Down(nnx.Module):
    """Half the side."""

    def __init__(self, inputs: int, outputs: int, execution: Execution, *, rngs: nnx.Rngs):
        self.conv1 = ConvPReLU(inputs, outputs, execution, stride=2, rngs=rngs)
        self.conv2 = ConvPReLU(outputs, outputs, execution, rngs=rngs)

    def __call__(self, x: Float[Array, "B h w I"]) -> Float[Array, "B H W O"]:
        return self.conv2(self.conv1(x))


class Up(nnx.Module):
    """Twice the side."""

    def __init__(self, inputs: int, outputs: int, execution: Execution, *, rngs: nnx.Rngs):
        self.conv = Doubling(inputs, outputs, execution, rngs=rngs)
        self.prelu = PReLU(outputs)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        return self.prelu(self.conv(x))


def _warp_features(features: list[Array], motion: Motion) -> list[Array]:
    """Both frames' features side by side; flow is halved, in size and in value, from scale to scale."""
    warped = []
    for both in features:
        warped.append(jnp.concatenate(motion.warped(both[:, 0], both[:, 1]), axis=-1))
        motion = Motion(resize(motion.flow, 0.5) / 2, motion.mask)
    return warped
