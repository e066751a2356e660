"""I3D: the network of the Frechet video distance, Inception v1 with time as a third axis, trained on Kinetics-400.

B videos, F frames, h w pixels, T H W and I J K places, C D channels, O outputs. Attributes have the names of the
published file. All padding is TensorFlow's "SAME": an odd rest goes behind.
Source: I3D (arXiv 1705.07750), FVD (arXiv 1812.01717); piergiaj/pytorch-i3d for names.
"""

import dataclasses
import functools
import typing
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.conv_norm import ConvNorm
from actavatar_jax.models.limits import SIZE

LEAST_FRAMES = 10
# Of every block the widths of its branches: one place; three, from a narrower layer; the same again; the pool's.
BLOCKS = {
    "3b": (64, (96, 128), (16, 32), 32),
    "3c": (128, (128, 192), (32, 96), 64),
    "4b": (192, (96, 208), (16, 48), 64),
    "4c": (160, (112, 224), (24, 64), 64),
    "4d": (128, (128, 256), (24, 64), 64),
    "4e": (112, (144, 288), (32, 64), 64),
    "4f": (256, (160, 320), (32, 128), 128),
    "5b": (256, (160, 320), (32, 128), 128),
    "5c": (384, (192, 384), (48, 128), 128),
}


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class I3DConfig:
    """The published network; with `narrowing`, every width but that of the outputs is divided by it."""

    narrowing: int = 1
    outputs: int = 400

    LIMITS: typing.ClassVar[dict[str, Limit]] = {"narrowing": one_of(1, 2, 4, 8), "outputs": SIZE}

    def __post_init__(self):
        check_fields(self, "I3D's ", **self.LIMITS)

    @property
    def features(self) -> int:
        """Of a video."""
        return self.outputs


class I3D(nnx.Module):
    """Videos -> 400 logits each, the mean over time."""

    def __init__(self, config: I3DConfig, *, rngs: nnx.Rngs):
        make = functools.partial(_make, config.narrowing, rngs)
        self.Conv3d_1a_7x7 = make(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = make(64, 64, 1)
        self.Conv3d_2c_3x3 = make(64, 192, 3)
        inputs = 192
        for name, widths in BLOCKS.items():
            setattr(self, f"Mixed_{name}", Mixed(make, inputs, widths))
            inputs = widths[0] + widths[1][1] + widths[2][1] + widths[3]
        self.logits = nnx.Linear(inputs // config.narrowing, config.outputs, precision="highest", rngs=rngs)

    def __call__(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B O"]:
        """Pixels in [-1, 1], published for 224x224. Raises InputError for fewer than 10 frames."""
        if pixels.shape[1] < LEAST_FRAMES:
            raise InputError(f"I3D got {pixels.shape[1]} frames; accepted are at least {LEAST_FRAMES}.")
        x = _pool(self.Conv3d_1a_7x7(pixels), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), (1, 3, 3), (1, 2, 2))
        x = _pool(self.Mixed_3c(self.Mixed_3b(x)), (3, 3, 3), (2, 2, 2))
        x = self.Mixed_4f(self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(x)))))
        x = self.Mixed_5c(self.Mixed_5b(_pool(x, (2, 2, 2), (2, 2, 2))))
        x = x.mean(axis=(2, 3))
        x = (x[:, 1:] + x[:, :-1]) / 2  # the pool before the outputs, of two steps in time and all of space
        return self.logits(x.mean(axis=1))  # mean of the outputs, which are linear


class Mixed(nnx.Module):
    """Four branches side by side."""

    def __init__(self, make: typing.Callable[..., ConvNorm], inputs: int, widths: Sequence):
        one, (narrow1, three1), (narrow2, three2), pooled = widths
        self.b0 = make(inputs, one, 1)
        self.b1a, self.b1b = make(inputs, narrow1, 1), make(narrow1, three1, 3)
        self.b2a, self.b2b = make(inputs, narrow2, 1), make(narrow2, three2, 3)
        self.b3b = make(inputs, pooled, 1)

    def __call__(self, x: Float[Array, "B T H W C"]) -> Float[Array, "B T H W D"]:
        pooled = _pool(x, (3, 3, 3), (1, 1, 1))
        branches = self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)
        return jnp.concatenate(branches, axis=-1)


def _make(narrowing: int, rngs: nnx.Rngs, inputs: int, outputs: int, side: int, stride: int = 1) -> ConvNorm:
    inputs = inputs if inputs == 3 else inputs // narrowing
    return ConvNorm(inputs, outputs // narrowing, (side,) * 3, stride, rngs=rngs)


def _pool(
    x: Float[Array, "B T H W C"], size: tuple[int, int, int], stride: tuple[int, int, int]
) -> Float[Array, "B I J K C"]:
    """The largest; what pads is smaller than all."""
    return nnx.max_pool(x, size, strides=stride, padding="SAME")
