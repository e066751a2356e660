"""MotionEncoder: what moves in four frames since the first frame of their clip, as a few vectors of one length.

N groups of four frames, h w pixels, H W places of the code, C channels.
"""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.models.motion.layers import Convolution, Down, Head, in_order
from actavatar_jax.models.motion.pixels import CELL, FRAMES, to_cells

CHANGE = 4.0  # times: most of a picture stands still, and what moves is what is asked for


class MotionEncoder(nnx.Module):
    """Cells of CELL pixels a side are merged four by four until a place of the code is left."""

    def __init__(self, widths: tuple[int, ...], channels: int, places: tuple[int, int], *, rngs: nnx.Rngs):
        self.stem = Convolution((FRAMES + 1) * 3 * CELL**2, widths[0], rngs=rngs)
        halvings = enumerate(itertools.pairwise(widths))
        self.down = nnx.Dict({str(i): Down(fine, coarse, rngs=rngs) for i, (fine, coarse) in halvings})
        self.head = Head(widths[-1], channels, nnx.initializers.lecun_normal(), rngs=rngs)
        self.place = nnx.Param(jnp.zeros((*places, channels)))

    def __call__(self, frames: Float[Array, "N 4 h w 3"], first: Float[Array, "N h w 3"]) -> Float[Array, "N H W C"]:
        """Four frames and the first frame of their clip, in [-1, 1] -> their code."""
        first = first[:, None]
        x = self.stem(to_cells(jnp.concatenate([CHANGE * (frames - first), first], axis=1), CELL))
        for down in in_order(self.down):
            x = down(x)
        return one_length(self.head(x) + self.place[...][None])


def one_length(code: Float[Array, "... C"]) -> Float[Array, "... C"]:
    """Every vector with a mean square of 1: a vector says what it says by its direction."""
    return code * jax.lax.rsqrt(jnp.mean(code**2, axis=-1, keepdims=True) + 1e-6)
