"""IResNet: ArcFace's recogniser of faces; a picture of a face -> an embedding, whose direction tells who it is.

Norms have the statistics of their training. B pictures, h w pixels, H W places, C D channels, E of the embedding.
Source: ArcFace (arXiv 1801.07698); arcface_torch of deepinsight/insightface for names, strides and constants.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, whole
from actavatar_jax.models.conv_norm import along_channels, convolve, fixed_norm
from actavatar_jax.models.limits import SIZE

SIDE = 112  # pixels of a face
EPSILON = 1e-5  # of the norms' variances
LAST = SIDE // 16  # places a side behind the last stage


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class IResNetConfig:
    """The defaults are the network of fifty layers."""

    depths: tuple[int, ...] = (3, 4, 14, 3)  # blocks of each stage
    width: int = 64  # channels of the first stage; each later one has twice as many
    embedding: int = 512

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "depths": Limit("4 whole numbers above 0", lambda x: len(x) == 4 and all(map(whole(1, 256).holds, x))),
        **dict.fromkeys(("width", "embedding"), SIZE),
    }

    def __post_init__(self):
        check_fields(self, "face network's ", **self.LIMITS)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.depths)))


class IResNet(nnx.Module):
    """Faces as they were aligned for its training: eyes, nose and mouth at fixed places."""

    def __init__(self, config: IResNetConfig, *, rngs: nnx.Rngs):
        self.config, inputs = config, (config.width, *config.widths)
        self.kernel = _kernel((3, 3), 3, config.width, rngs)
        self.norm, self.slope = Norm(config.width, rngs=rngs), _slope(config.width)
        self.stages = nnx.Dict(
            {
                str(stage): nnx.Dict(
                    {
                        str(i): Block(width if i else inputs[stage], width, 1 if i else 2, rngs=rngs)
                        for i in range(depth)
                    }
                )
                for stage, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True))
            }
        )
        self.norm_out = Norm(config.widths[-1], rngs=rngs)
        self.fc = _kernel((LAST, LAST), config.widths[-1], config.embedding, rngs)
        self.fc_bias = nnx.Param(jnp.zeros(config.embedding))
        self.norm_embedding = Norm(config.embedding, rngs=rngs)

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B E"]:
        """Pixels in [-1, 1]; pictures of other sides than `SIDE` are made so large first."""
        if pixels.shape[1:3] != (SIDE, SIDE):
            pixels = jax.image.resize(pixels, (len(pixels), SIDE, SIDE, 3), "linear")
        x = prelu(self.norm(convolve(pixels, self.kernel[...], 1, 1)), self.slope[...])
        for stage, depth in enumerate(self.config.depths):
            for i in range(depth):
                x = self.stages[str(stage)][str(i)](x)
        x = convolve(self.norm_out(x), self.fc[...], 1, "VALID")[:, 0, 0] + self.fc_bias[...][None]
        return self.norm_embedding(x)


class Block(nnx.Module):
    """Norm first, and one behind both convolutions; the first block of a stage makes pictures half as large."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, rngs: nnx.Rngs):
        self.norm1, self.norm2, self.norm3 = (Norm(width, rngs=rngs) for width in (inputs, outputs, outputs))
        self.kernel1 = _kernel((3, 3), inputs, outputs, rngs)
        self.kernel2 = _kernel((3, 3), outputs, outputs, rngs)
        self.slope, self.stride = _slope(outputs), stride
        if stride > 1:
            self.shortcut, self.shortcut_norm = _kernel((1, 1), inputs, outputs, rngs), Norm(outputs, rngs=rngs)

    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B H W D"]:
        kept = x
        if self.stride > 1:
            kept = self.shortcut_norm(convolve(x, self.shortcut[...], self.stride, 0))
        x = self.norm2(convolve(self.norm1(x), self.kernel1[...], 1, 1))
        return kept + self.norm3(convolve(prelu(x, self.slope[...]), self.kernel2[...], self.stride, 1))


class Norm(nnx.Module):
    """Batch norm with fixed statistics."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.scale, self.variance = (nnx.Param(jnp.ones(width)) for _ in range(2))
        self.bias, self.mean = (nnx.Param(jnp.zeros(width)) for _ in range(2))

    def __call__(self, x: Float[Array, "B *I C"]) -> Float[Array, "B *I C"]:
        return fixed_norm(self, x, EPSILON)


def prelu(x: Float[Array, "B h w C"], slope: Float[Array, " C"]) -> Float[Array, "B h w C"]:
    """The identity above 0, a slope for each channel below."""
    return jnp.where(x > 0, x, x * along_channels(slope, x))


def _kernel(size: tuple[int, int], inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Param:
    return nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (*size, inputs, outputs)))


def _slope(width: int) -> nnx.Param:
    return nnx.Param(jnp.full(width, 0.25))
