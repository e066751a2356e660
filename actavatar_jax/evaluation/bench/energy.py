"""Whether more moves while an action is asked for than else: no network and no judge is needed to see that.

F frames, G = F - 1 changes between them. Frame i shows the instant i / 25 s; what changes from one frame to the next
counts at the middle between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from actavatar_jax.errors import Skip
from actavatar_jax.evaluation.measures import Window
from actavatar_jax.media import FPS, fit_image, read_frames

SIDE = 128  # pixels of the shorter side
# Grey levels of 255 that change at a pixel from frame to frame, below which nothing moves. Where pictures stand still,
# H.264 changes up to 0.01; of twelve clips of people who talk the calmest has 0.35.
STILL = 0.1
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
PROFILE = 5  # values a second of the curve that is drawn


@dataclass(frozen=True)
class EnergyRatio:
    """ratio: mean change inside the windows over that outside. shuffled: what the same windows give elsewhere."""

    ratio: float
    shuffled: float


def energy_curve(video: str | Path) -> Float[np.ndarray, " G"]:
    """Mean absolute difference of a frame and the next, in grey levels, at 128 pixels on the shorter side.

    Raises:
      InputError: the file cannot be read as a video.
    """
    differences, before = [], None
    for frame in read_frames(video):
        grey = _small_grey(frame)
        if before is not None:
            differences.append(float(np.abs(grey - before).mean()))
        before = grey
    return np.array(differences, float)


def energy_ratio(curve: Float[np.ndarray, " G"], windows: Sequence[Window]) -> EnergyRatio:
    """Inside all windows over outside; shuffled is the mean over all shifts of the windows around the clip.

    The same windows at another time have the same length and number, so that a clip that moves a lot, or late, gains
    nothing by it. A clip that knows nothing of its prompt has both alike on average.

    Raises:
      Skip: there are no windows, they leave nothing out, or nothing moves.
    """
    inside = windows_mask(windows, len(curve))
    if not inside.any():
        raise Skip("no phases", "the prompt has no window")
    if inside.all():
        raise Skip("no rest", "the windows leave no time that the movement in them could be compared with")
    if curve.mean() < STILL:
        raise Skip("still", "nothing moves")
    shifted = [_ratio(curve, np.roll(inside, shift)) for shift in range(1, len(curve))]
    return EnergyRatio(_ratio(curve, inside), float(np.mean(shifted)))


def windows_mask(windows: Sequence[Window], count: int) -> Bool[np.ndarray, " count"]:
    """Which of the changes between frames lie in a window."""
    times = (np.arange(count) + 0.5) / FPS
    mask = np.zeros(count, bool)
    for start, end in windows:
        mask |= (times >= start) & (times < end)
    return mask


def profile_of(curve: Float[np.ndarray, " G"]) -> list[float]:
    """The curve as it is drawn: means of a fifth of a second."""
    pieces = np.array_split(curve, max(1, round(len(curve) * PROFILE / FPS)))
    return [round(float(piece.mean()), 4) for piece in pieces if len(piece)]


def _ratio(curve: Float[np.ndarray, " G"], inside: Bool[np.ndarray, " G"]) -> float:
    return float(max(curve[inside].mean(), STILL) / max(curve[~inside].mean(), STILL))


def _small_grey(frame: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "h w"]:
    scale = SIDE / min(frame.shape[:2])
    height, width = (max(1, round(side * scale)) for side in frame.shape[:2])
    return fit_image(frame, height, width).astype(np.float32) @ GREY
