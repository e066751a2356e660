"""Where hands and faces are in a video, in places of its latents, for preference steps that weigh them.

F frames, T latent frames, h w pixel sides, H W latent sides.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.keypoints import CONFIDENT, Landmarker
from actavatar_jax.media.clock import latent_frames
from actavatar_jax.storage import named
from data_pipelines.filters import find_models

# Of COCO-WholeBody's points: those of the face, of the left and of the right hand.
PARTS = (slice(23, 91), slice(91, 112), slice(112, 133))
LEAST = 6  # points that are seen of a part that is
MARGIN = 0.15  # of the longer side of its box, on every side

FindRegions = Callable[[UInt8[np.ndarray, "F h w 3"], tuple[int, int]], UInt8[np.ndarray, "T H W"]]


def region_finder(models: Path) -> FindRegions:
    """A function that gives 1 at every latent place (of H x W in each latent frame) that a hand or face touches.

    Raises:
      InputError: the folder does not hold both networks that find keypoints.
    """
    found = find_models(models, "motion")
    if found is None:
        raise InputError(f"{named(models)} does not hold person.onnx and pose.onnx, which find hands and faces.")

    def find(frames: UInt8[np.ndarray, "F h w 3"], places: tuple[int, int]) -> UInt8[np.ndarray, "T H W"]:
        keypoints = np.stack(list(Landmarker(*found)(frames)))
        return mark_regions(keypoints, frames.shape[1:3], places)

    return find


def pick_frames(frames: UInt8[np.ndarray, "n h w 3"], count: int) -> UInt8[np.ndarray, "{count} h w 3"]:
    """As many frames as a video was made with, of those on the 25 fps clock: videos of 16 fps have fewer."""
    return frames[np.arange(count) * len(frames) // count]


def mark_regions(
    keypoints: Float32[np.ndarray, "F 133 3"], size: tuple[int, int], places: tuple[int, int]
) -> UInt8[np.ndarray, "T H W"]:
    """1 where a latent frame, that is any frame which it stands for, has a hand or a face; `size` is that of the
    picture that x and y are of, in pixels."""
    regions = np.zeros((latent_frames(len(keypoints)), *places), np.uint8)
    for number, points in enumerate(keypoints):
        for low, high in _boxes(points):
            scale = np.divide(places, size)[::-1]  # of x and y
            left, top = np.floor(low * scale).astype(int).clip(0)
            right, bottom = (np.floor(high * scale).astype(int) + 1).clip(0)
            regions[(number + 3) // 4, top:bottom, left:right] = 1
    return regions


def _boxes(points: Float32[np.ndarray, "133 3"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Smallest and largest x and y of each part that is seen, with its margin."""
    for part in PARTS:
        seen = points[part][points[part, 2] >= CONFIDENT, :2]
        if len(seen) >= LEAST:
            low, high = seen.min(0), seen.max(0)
            margin = MARGIN * (high - low).max()
            yield low - margin, high + margin
