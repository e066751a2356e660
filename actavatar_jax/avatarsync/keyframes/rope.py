"""Rotary positions in two dimensions, as LlamaGen has them: half of the pairs turn by the row, half by the column."""

import numpy as np
from jaxtyping import Float32

THETA = 10_000.0


def rope_table(rows: int, columns: int, head_dim: int) -> Float32[np.ndarray, "2 N pairs"]:
    """Cosines and sines of every token's angles, tokens in raster order; for `apply_rope`."""
    quarter = head_dim // 4
    frequencies = THETA ** (-np.arange(quarter, dtype=np.float64) / quarter)
    row, column = np.divmod(np.arange(rows * columns), columns)
    angle = np.concatenate([row[:, None] * frequencies, column[:, None] * frequencies], axis=-1)
    return np.stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def unturned(count: int, head_dim: int) -> Float32[np.ndarray, "2 {count} pairs"]:
    """The same for tokens without a place."""
    return np.stack([np.ones((count, head_dim // 2)), np.zeros((count, head_dim // 2))]).astype(np.float32)
