"""Pixels as cells, in which networks see them, and as planes, in which they are mixed: one for every colour of every
frame, so that processors work on a row of pixels at once.

N groups of F frames, h w pixels, H W and I J places of a coarser grid, C channels, M warped pictures.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

FRAMES = 4  # of a group
CELL = 4  # pixels a side of the cells that networks see and draw, and whose flow they tell


def to_planes(frames: Float[Array, "N F h w c"]) -> Float[Array, "N c F h w"]:
    return jnp.moveaxis(frames, -1, 1)


def from_planes(planes: Float[Array, "N c F h w"]) -> Float[Array, "N F h w c"]:
    """Inverse of `to_planes`."""
    return jnp.moveaxis(planes, 1, -1)


def to_cells(frames: Float[Array, "N F h w c"], cell: int) -> Float[Array, "N H W C"]:
    """Squares of `cell` by `cell` pixels of all frames become channels."""
    N, F, h, w, c = frames.shape
    cells = frames.reshape(N, F, h // cell, cell, w // cell, cell, c).transpose(0, 2, 4, 1, 3, 5, 6)
    return cells.reshape(N, h // cell, w // cell, -1)


def from_cells(cells: Float[Array, "N H W C"], frames: int, cell: int) -> Float[Array, "N c {frames} h w"]:
    """Channels become planes; their number is what `frames` and `cell` leave."""
    N, H, W, _ = cells.shape
    planes = cells.reshape(N, H, W, -1, frames, cell, cell).transpose(0, 3, 4, 1, 5, 2, 6)
    return planes.reshape(N, -1, frames, H * cell, W * cell)


def warp(first: Float[Array, "N 3 1 h w"], flow: Float[Array, "N I J D"]) -> list[Float[Array, "N 3 4 h w"]]:
    """The warps of the first frame, each for the four frames; no gradient goes to the first frame.

    Args:
      flow: how many pixels below and to the right of a pixel its colour is found (D: this pair, warps, frames), at the
        centres of cells of CELL pixels a side; in between it changes evenly, and the picture ends at its edges.
    """
    N, _, _, h, w = first.shape
    enlarged = jax.image.resize(jnp.moveaxis(flow, -1, 1), (N, flow.shape[-1], h, w), "linear")
    down, right = jnp.moveaxis(enlarged.reshape(N, 2, -1, h, w), 1, 0)
    y = jnp.clip(down + jnp.arange(h, dtype=down.dtype)[None, None, :, None], 0, h - 1)
    x = jnp.clip(right + jnp.arange(w, dtype=down.dtype)[None, None, None], 0, w - 1)
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = y - top, x - left  # of the pixel above and to the left

    sample = jnp.arange(N)[:, None, None, None]
    corner = (sample * h + top.astype(jnp.int32)) * w + left.astype(jnp.int32)

    def interpolate(colour: Float[Array, "N h w"]) -> Float[Array, "N M h w"]:
        flat = colour.reshape(-1)
        above, above_right, below, below_right = (flat.at[corner + i].get(mode="clip") for i in (0, 1, w, w + 1))
        return (above * (1 - right) + above_right * right) * (1 - down) + (
            below * (1 - right) + below_right * right
        ) * down

    colours = jnp.moveaxis(jax.lax.stop_gradient(first)[:, :, 0], 1, 0)
    pictures = jnp.stack([interpolate(colour) for colour in colours], axis=1).reshape(N, 3, -1, FRAMES, h, w)
    return list(jnp.moveaxis(pictures, 2, 0))
