"""Layers of the networks that see and draw pictures, quick on processors without an accelerator.

N pictures, H W and I J places of a coarser grid, C D channels.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.models import layers
from actavatar_jax.models.motion.pixels import to_cells

EPSILON = 1e-4  # of the norms
ROWS, COLUMNS = ((1, 1), (0, 0), (0, 0)), ((0, 0), (1, 1), (0, 0))  # paddings


class ResidualBlock(nnx.Module):
    """Starts as the identity."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm = layers.rms_norm(width, epsilon=EPSILON, rngs=rngs)
        self.conv1 = Convolution(width, width, rngs=rngs)
        self.conv2 = Convolution(width, width, nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        return x + self.conv2(nnx.silu(self.conv1(nnx.silu(self.norm(x)))))


class Down(nnx.Module):
    """From a stage to the next coarser one."""

    def __init__(self, fine: int, coarse: int, *, rngs: nnx.Rngs):
        self.merge = nnx.Linear(4 * fine, coarse, rngs=rngs)
        self.block = ResidualBlock(coarse, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N I J D"]:
        return self.block(self.merge(to_cells(nnx.silu(x)[:, None], 2)))


class Up(nnx.Module):
    """From a stage to the next finer one, and to what that one held on the way down."""

    def __init__(self, coarse: int, fine: int, *, rngs: nnx.Rngs):
        self.narrow = nnx.Linear(coarse, fine, rngs=rngs)
        self.block = ResidualBlock(fine, rngs=rngs)

    def __call__(self, x: Float[Array, "N I J D"], passed: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
        return self.block(passed + self.narrow(x).repeat(2, axis=1).repeat(2, axis=2))


class Head(nnx.Module):
    """What the features of a stage say."""

    def __init__(self, width: int, outputs: int, kernel_init: nnx.Initializer, *, rngs: nnx.Rngs):
        self.norm = layers.rms_norm(width, epsilon=EPSILON, rngs=rngs)
        self.linear = nnx.Linear(width, outputs, kernel_init=kernel_init, rngs=rngs)

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W D"]:
        return self.linear(nnx.silu(self.norm(x)))


class Convolution(nnx.Module):
    """3x3, with zeros around the picture."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),  # noqa: B008 - a pure function
        *,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(kernel_init(rngs.params(), (3, 3, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "N H W C"]) -> Float[Array, "N H W D"]:
        return convolve(x, self.kernel[...]) + self.bias[None, None, None]


@jax.custom_vjp
def convolve(x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]) -> Float[Array, "N H W D"]:
    """As XLA does it, but for the kernel's gradient: its own takes CPUs longer than all the rest."""
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_forward(x: Float[Array, "N H W C"], kernel: Float[Array, "3 3 C D"]):
    return convolve(x, kernel), (x, kernel)


def _convolve_backward(saved, gradient: Float[Array, "N H W D"]):
    x, kernel = saved
    return convolve(gradient, kernel[::-1, ::-1].swapaxes(2, 3)), kernel_gradient(x, gradient)


convolve.defvjp(_convolve_forward, _convolve_backward)


def kernel_gradient(x: Float[Array, "N H W C"], gradient: Float[Array, "N H W D"]) -> Float[Array, "3 3 C D"]:
    """Three matrix products per picture, one picture after the other, so that all of one stays in the cache."""
    H, W, C = x.shape[1:]

    def add_picture(total: Float[Array, "3 C E"], picture: tuple[Array, Array]):
        x, gradient = (jnp.pad(part, padding) for part, padding in zip(picture, (ROWS, COLUMNS), strict=True))
        columns = jnp.concatenate([gradient[:, 2 - j : 2 - j + W] for j in range(3)], axis=-1)
        rows = [jnp.einsum("hwc,hwe->ce", x[i : i + H], columns) for i in range(3)]
        return total + jnp.stack(rows), None

    total, _ = jax.lax.scan(add_picture, jnp.zeros((3, C, 3 * gradient.shape[-1]), x.dtype), (x, gradient))
    return total.reshape(3, C, 3, -1).swapaxes(1, 2)


def in_order(stages: nnx.Dict) -> list[nnx.Module]:
    return [stages[str(i)] for i in range(len(stages))]
