"""Sync-C, Sync-D and the offset from what was seen and heard. N windows, D features, S shifts of the sound."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.signal import medfilt

SHIFT = 15  # frames in both directions in which the best fit is looked for
CLOSE = np.float32(1e-6)  # added to each component of a difference, as PyTorch does it
SMOOTHED = 9  # frames


@dataclass(frozen=True, eq=False)
class Scores:
    """How well lips and sound fit.

    confidence: Sync-C. distance: Sync-D. offset: frames by which the sound is ahead of the picture, as SyncNet prints
    it; frame i of the picture fits frame i - offset of the sound. windows: how many were compared. frame_confidence:
    how far each window's distance, at the best offset, is below the median of all offsets.
    """

    confidence: float
    distance: float
    offset: int
    windows: int
    frame_confidence: Float64[np.ndarray, " N"]


def score_shifts(seen: Float32[np.ndarray, "N D"], heard: Float32[np.ndarray, "M D"], every: int = 1) -> Scores:
    """The scores of windows: those heard begin with frame 0, 1, ..., those seen with frame 0, every, 2 every, ..."""
    distances = measure_shifts(seen, heard, every)
    means = distances.mean(0)
    best, median = int(means.argmin()), float(np.median(means))
    return Scores(
        confidence=median - float(means[best]),
        distance=float(means[best]),
        offset=SHIFT - best,
        windows=len(seen),
        frame_confidence=medfilt(median - distances[:, best], SMOOTHED),
    )


def measure_shifts(
    seen: Float32[np.ndarray, "N D"], heard: Float32[np.ndarray, "M D"], every: int = 1
) -> Float64[np.ndarray, "N S"]:
    """Distance of what is seen in each window to what is heard 15 frames earlier, ..., 15 frames later.

    Beyond the ends zeros are heard: published values, and the thresholds that are known for them, are made so.
    """
    padded, count = np.pad(heard, ((SHIFT, SHIFT), (0, 0))), len(heard)
    shifts = [np.linalg.norm(seen - padded[s : s + count : every] + CLOSE, axis=1) for s in range(2 * SHIFT + 1)]
    return np.stack(shifts, axis=1).astype(float)
