"""LPIPS: how different two pictures look, as AlexNet's features tell it when they are weighted by people's judgements.

B pairs, h w pixels, H W places, C channels.
Source: LPIPS (arXiv 1801.03924), version 0.1; richzhang/PerceptualSimilarity for names and constants.
"""

import dataclasses
import itertools
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.conv_norm import along_channels, convolve

LEAST_SIDE = 31  # pixels, of which one place is left at the end
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet's colours, for pixels in [-1, 1]
WIDTHS = (64, 192, 384, 256, 256)
KERNELS = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # side, stride, zeros around
POOLED = (1, 2)  # stages that begin with a pool
EPSILON = 1e-10  # of the length of a place's features


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class LPIPSConfig:
    """The published network; with `narrowing`, every width is divided by it."""

    narrowing: int = 1

    LIMITS: typing.ClassVar[dict[str, Limit]] = {"narrowing": one_of(1, 2, 4, 8, 16)}

    def __post_init__(self):
        check_fields(self, "LPIPS's ", **self.LIMITS)


class LPIPS(nnx.Module):
    """Two pictures -> a distance, 0 for equal ones."""

    def __init__(self, config: LPIPSConfig, *, rngs: nnx.Rngs):
        widths = [width // config.narrowing for width in WIDTHS]
        sizes = zip(itertools.pairwise([3, *widths]), KERNELS, strict=True)
        self.stages = nnx.Dict({str(i): Stage(*pair, *kernel, rngs=rngs) for i, (pair, kernel) in enumerate(sizes)})
        draw = nnx.initializers.uniform(1.0)
        self.weights = nnx.Dict({str(i): nnx.Param(draw(rngs.params(), (width,))) for i, width in enumerate(widths)})

    def __call__(self, one: Float[Array, "B h w 3"], other: Float[Array, "B h w 3"]) -> Float[Array, " B"]:
        """Pixels in [-1, 1]. Raises InputError for sides below 31 pixels."""
        if min(one.shape[1:3]) < LEAST_SIDE:
            height, width = one.shape[1:3]
            raise InputError(f"LPIPS got pictures of {width}x{height}; accepted are sides from {LEAST_SIDE} on.")
        pairs = zip(self.features(one), self.features(other), strict=True)
        return sum(self._distance(i, _unit(a), _unit(b)) for i, (a, b) in enumerate(pairs))

    def features(self, pixels: Float[Array, "B h w 3"]) -> list[Float[Array, "B _ _ _"]]:
        """Of AlexNet's five stages."""
        x = (pixels - along_channels(jnp.array(SHIFT), pixels)) / along_channels(jnp.array(SCALE), pixels)
        found = []
        for i in range(len(WIDTHS)):
            x = nnx.max_pool(x, (3, 3), strides=(2, 2)) if i in POOLED else x
            x = self.stages[str(i)](x)
            found.append(x)
        return found

    def _distance(self, stage: int, a: Float[Array, "B H W C"], b: Float[Array, "B H W C"]) -> Float[Array, " B"]:
        weights = along_channels(self.weights[str(stage)][...], a)
        return jnp.sum((a - b) ** 2 * weights, axis=-1).mean(axis=(1, 2))


class Stage(nnx.Module):
    """Convolution with bias, and ReLU."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, padding: int, *, rngs: nnx.Rngs):
        self.kernel = nnx.Param(nnx.initializers.lecun_normal()(rngs.params(), (side, side, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "B h w C"]) -> Float[Array, "B H W D"]:
        x = convolve(x, self.kernel[...], self.stride, self.padding)
        return jax.nn.relu(x + along_channels(self.bias[...], x))


def _unit(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    return x / (jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True)) + EPSILON)
