"""Rotary position embedding over (latent frame, row, column), as Wan has it.

T latent frames, L video tokens, N heads, K head dim.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

THETA = 10_000.0
RIFLEX_INDEX, RIFLEX_SCALE = 5, 4.886  # of the public code of EchoMimicV3


def rope_table(grid: tuple[int, int, int], head_dim: int, riflex: int | None = None) -> Float[np.ndarray, "2 L pairs"]:
    """Cosines and sines of every token's angles, tokens in (frame, row, column) order.

    Rows and columns get a third of the K/2 pairs each (rounded down), time the rest; each axis starts its own
    frequency ladder at 1. Angles are computed in float64, because at position 1000 float32 is off by 1e-4.

    Args:
      riflex: RIFLEx (arXiv 2502.15894), for so many latent frames in all: the frequency of time whose period a longer
        video would repeat, the sixth of Wan's, becomes so low that it does not come round.
    """
    pairs = head_dim // 2
    sizes = (pairs - 2 * (pairs // 3), pairs // 3, pairs // 3)
    positions = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    ladders = [THETA ** (-np.arange(n, dtype=np.float64) / n) for n in sizes]
    if riflex is not None:
        ladders[0][min(RIFLEX_INDEX, sizes[0] - 1)] = 0.9 * 2 * np.pi / (riflex * RIFLEX_SCALE)
    angles = [position.reshape(-1, 1) * ladder for position, ladder in zip(positions, ladders, strict=True)]
    angle = np.concatenate(angles, axis=-1)
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def apply_rope(x: Float[Array, "B L N K"], table: Float[Array, "2 L pairs"]) -> Float[Array, "B L N K"]:
    """Rotates adjacent pairs `(x[2j], x[2j+1])` by their angles; computed in float32, returned in the dtype of `x`."""
    cos, sin = table[:, None, :, None, :]
    even, odd = x[..., 0::2].astype(jnp.float32), x[..., 1::2].astype(jnp.float32)
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape).astype(x.dtype)
