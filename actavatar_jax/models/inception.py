"""InceptionV3: the network of the Frechet Inception distance, in the form of the TensorFlow graph of 2015-12-05.

It differs from the Inception v3 that torchvision has: mean pools leave the padding out of what they divide by, and the
last block takes the largest of its neighbours in the place of their mean.
B pictures, h w pixels, H W and I J places, C D channels. Attributes have the names of the published file.
Source: Inception v3 (arXiv 1512.00567); mseitzer/pytorch-fid for names and for the differences.
"""

import dataclasses
import functools
import typing
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields, one_of
from actavatar_jax.errors import InputError
from actavatar_jax.models.conv_norm import ConvNorm

LEAST_SIDE = 75  # pixels, of which one place is left at the end

Make = Callable[..., ConvNorm]  # (inputs, outputs, side of the kernel or its sides, stride, padding)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class InceptionConfig:
    """The published network; with `narrowing`, every width is divided by it."""

    narrowing: int = 1

    LIMITS: typing.ClassVar[dict[str, Limit]] = {"narrowing": one_of(1, 2, 4, 8, 16)}

    def __post_init__(self):
        check_fields(self, "Inception's ", **self.LIMITS)

    @property
    def features(self) -> int:
        """Of a picture."""
        return 2048 // self.narrowing


class InceptionV3(nnx.Module):
    """Pictures -> 2048 features each."""

    def __init__(self, config: InceptionConfig, *, rngs: nnx.Rngs):
        make = functools.partial(_make, config.narrowing, rngs)
        self.Conv2d_1a_3x3 = make(3, 32, 3, 2, "VALID")
        self.Conv2d_2a_3x3 = make(32, 32, 3, 1, "VALID")
        self.Conv2d_2b_3x3 = make(32, 64, 3)
        self.Conv2d_3b_1x1 = make(64, 80, 1)
        self.Conv2d_4a_3x3 = make(80, 192, 3, 1, "VALID")
        self.Mixed_5b = BlockA(make, 192, pooled=32)
        self.Mixed_5c = BlockA(make, 256, pooled=64)
        self.Mixed_5d = BlockA(make, 288, pooled=64)
        self.Mixed_6a = BlockB(make)
        self.Mixed_6b = BlockC(make, inner=128)
        self.Mixed_6c = BlockC(make, inner=160)
        self.Mixed_6d = BlockC(make, inner=160)
        self.Mixed_6e = BlockC(make, inner=192)
        self.Mixed_7a = BlockD(make)
        self.Mixed_7b = BlockE(make, 1280, pool=_mean_pool)
        self.Mixed_7c = BlockE(make, 2048, pool=_largest_neighbour)

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B D"]:
        """Pixels in [-1, 1], published for 299x299. Raises InputError for sides below 75 pixels."""
        if min(pixels.shape[1:3]) < LEAST_SIDE:
            height, width = pixels.shape[1:3]
            raise InputError(f"Inception got pictures of {width}x{height}; accepted are sides from {LEAST_SIDE} on.")
        x = _halve(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(pixels))))
        x = _halve(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean(axis=(1, 2))


class BlockA(nnx.Module):
    """Of 35x35 places."""

    def __init__(self, make: Make, inputs: int, pooled: int):
        self.branch1x1 = make(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = make(inputs, 48, 1), make(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = make(inputs, 64, 1), make(64, 96, 3)
        self.branch3x3dbl_3 = make(96, 96, 3)
        self.branch_pool = make(inputs, pooled, 1)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        wide = self.branch5x5_2(self.branch5x5_1(x))
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return _join(self.branch1x1(x), wide, twice, self.branch_pool(_mean_pool(x)))


class BlockB(nnx.Module):
    """From 35x35 places to 17x17."""

    def __init__(self, make: Make):
        self.branch3x3 = make(288, 384, 3, 2, "VALID")
        self.branch3x3dbl_1, self.branch3x3dbl_2 = make(288, 64, 1), make(64, 96, 3)
        self.branch3x3dbl_3 = make(96, 96, 3, 2, "VALID")

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B I J D"]:
        twice = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return _join(self.branch3x3(x), twice, _halve(x))


class BlockC(nnx.Module):
    """Of 17x17 places: kernels of seven rows, then of seven columns."""

    def __init__(self, make: Make, inner: int):
        row, column = (1, 7), (7, 1)
        self.branch1x1 = make(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = make(768, inner, 1), make(inner, inner, row)
        self.branch7x7_3 = make(inner, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = make(768, inner, 1), make(inner, inner, column)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = make(inner, inner, row), make(inner, inner, column)
        self.branch7x7dbl_5 = make(inner, 192, row)
        self.branch_pool = make(768, 192, 1)

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return _join(self.branch1x1(x), once, twice, self.branch_pool(_mean_pool(x)))


class BlockD(nnx.Module):
    """From 17x17 places to 8x8."""

    def __init__(self, make: Make):
        self.branch3x3_1, self.branch3x3_2 = make(768, 192, 1), make(192, 320, 3, 2, "VALID")
        self.branch7x7x3_1, self.branch7x7x3_2 = make(768, 192, 1), make(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = make(192, 192, (7, 1)), make(192, 192, 3, 2, "VALID")

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B I J D"]:
        wide = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return _join(self.branch3x3_2(self.branch3x3_1(x)), wide, _halve(x))


class BlockE(nnx.Module):
    """Of 8x8 places: kernels of three rows beside such of three columns."""

    def __init__(self, make: Make, inputs: int, pool: Callable[[Array], Array]):
        row, column = (1, 3), (3, 1)
        self.branch1x1 = make(inputs, 320, 1)
        self.branch3x3_1 = make(inputs, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = make(384, 384, row), make(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = make(inputs, 448, 1), make(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = make(384, 384, row), make(384, 384, column)
        self.branch_pool = make(inputs, 192, 1)
        self.pool = pool

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return _join(
            self.branch1x1(x),
            *(self.branch3x3_2a(once), self.branch3x3_2b(once)),
            *(self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice)),
            self.branch_pool(self.pool(x)),
        )


def _make(
    narrowing: int,
    rngs: nnx.Rngs,
    inputs: int,
    outputs: int,
    size: int | tuple[int, int],
    stride: int = 1,
    padding: str = "SAME",
) -> ConvNorm:
    inputs = inputs if inputs == 3 else inputs // narrowing
    size = (size, size) if isinstance(size, int) else size
    return ConvNorm(inputs, outputs // narrowing, size, stride, padding, rngs=rngs)


def _mean_pool(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Mean of a place and those of its neighbours that there are."""
    return nnx.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _largest_neighbour(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    return nnx.max_pool(x, (3, 3), padding="SAME")


def _halve(x: Float[Array, "B H W C"]) -> Float[Array, "B I J C"]:
    return nnx.max_pool(x, (3, 3), strides=(2, 2))


def _join(*branches: Float[Array, "B H W _"]) -> Float[Array, "B H W D"]:
    return jnp.concatenate(branches, axis=-1)
