"""Figures of one clip: arrays in, numbers out. Curves have one value per frame; windows are (start, end) in seconds.

An action's curve says frame by frame how clearly the action is seen, 0 to 1. Frame i shows the instant i / fps.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.media.image import psnr as psnr

Window = tuple[float | int, float | int]
Curve = Float[np.ndarray, " F"]

SEEN = 0.5  # mean of the curve over the window above which the action was shown there
LEAST_PEAK = 0.2  # of a curve: below it nothing was seen, so that there is nothing to place in time
TOLERANCE = 0.3  # seconds by which onset and end may miss and still count as right
ROUNDING = 1 / 12  # mean square of what rounding to whole levels takes away
LEAST_MOVEMENT = 1e-3  # deviation of a mouth's opening below which the mouth stands still


def window_frames(window: Window, frames: int, fps: int = FPS) -> slice:
    """The frames of a clip of `frames` frames that a window holds; InputError if it holds none."""
    first, end = (math.ceil(seconds * fps - 1e-6) for seconds in window)
    inside = slice(max(first, 0), min(end, frames))
    if inside.start >= inside.stop:
        raise InputError(
            f"The window {window[0]:g}-{window[1]:g} s holds no frame of a clip of {frames / fps:g} s; "
            "a window must begin within the clip and last at least one frame."
        )
    return inside


def hit(curve: Curve, window: Window, fps: int = FPS) -> bool:
    """Whether the action is seen in its window: the curve's mean over it is above one half."""
    return bool(curve[window_frames(window, len(curve), fps)].mean() > SEEN)


def accuracy(curves: Float[np.ndarray, "F A"], action: int, window: Window, fps: int = FPS) -> bool:
    """Whether, of all actions, the one in column `action` is seen most clearly in the window."""
    return int(curves[window_frames(window, len(curves), fps)].mean(axis=0).argmax()) == action


def active(curve: Curve) -> Bool[np.ndarray, " F"]:
    """The frames above half of the curve's own peak, so that a faint action can still be well timed."""
    return curve > curve.max() / 2


def temporal_iou(curve: Curve, window: Window, fps: int = FPS) -> float:
    """Frames active and in the window over frames active or in the window; 0 where nothing was seen at all."""
    if curve.max() < LEAST_PEAK:
        return 0.0
    seen, asked = active(curve), np.zeros(len(curve), bool)
    asked[window_frames(window, len(curve), fps)] = True
    return float((seen & asked).sum() / (seen | asked).sum())


def temporal_correctness(curve: Curve, window: Window, fps: int = FPS) -> float:
    """0 to 10: 10 where onset and end are within 0.3 s of the window's, 5 where about half is in place, 0 where none.

    Short of 10 it is ten times the share of the action inside the window or the share of the window that the action
    fills, whichever is smaller: neither a flash nor an action that never ends is in time.
    """
    if curve.max() < LEAST_PEAK:
        return 0.0
    seen, asked, span = active(curve), window_frames(window, len(curve), fps), _span(curve)
    slack = round(TOLERANCE * fps)
    both = seen[asked].sum()
    share = float(min(both / seen.sum(), both / (asked.stop - asked.start)))
    if abs(span.start - asked.start) <= slack and abs(span.stop - asked.stop) <= slack:
        return 10.0
    return min(10 * share, 9.0)


def satisfied(curve: Curve, window: Window, fps: int = FPS) -> bool:
    """Whether the action was seen, and at no time more than 0.3 s outside its window.

    Its mean is what TIE (arXiv 2605.10543) calls constraint satisfaction, by a judge of its own.
    """
    if curve.max() < LEAST_PEAK:
        return False
    seen, asked, slack = _span(curve), window_frames(window, len(curve), fps), round(TOLERANCE * fps)
    return seen.start >= asked.start - slack and seen.stop <= asked.stop + slack


def boundary_error(curve: Curve, window: Window, fps: int = FPS) -> float:
    """Seconds by which onset and end miss those of the window, mean of the two; TIE's other measure.

    NaN where nothing was seen: then there is neither.
    """
    asked = window_frames(window, len(curve), fps)
    if curve.max() < LEAST_PEAK:
        return math.nan
    seen = _span(curve)
    return (abs(seen.start - asked.start) + abs(seen.stop - asked.stop)) / 2 / fps


def _span(curve: Curve) -> slice:
    """From the first to the last active frame."""
    first, last = np.flatnonzero(active(curve))[[0, -1]]
    return slice(int(first), int(last) + 1)


def centre(curve: Curve, fps: int = FPS) -> float:
    """Seconds: centre of mass of the curve's active frames; the middle of the clip where the curve is all zero."""
    weight = np.where(active(curve), curve, 0.0)
    if weight.sum() == 0:
        weight = np.ones(len(curve))
    return float((weight * (np.arange(len(curve)) + 0.5)).sum() / weight.sum() / fps)


def centre_correlation(centres: Float[np.ndarray, " N"], window_centres: Float[np.ndarray, " N"]) -> float:
    """Of single-phase clips, where no order of actions gives the time away; 0 where either does not vary."""
    return float(correlation(centres, window_centres))


class LipCorrelation(NamedTuple):
    """How a seen mouth follows the true one: at the best lag, at lag 0, and the best lag in frames."""

    best: float
    at_zero: float
    lag: int  # positive: the picture comes later than the sound


def lip_correlation(measured: Float[np.ndarray, " G"], true: Curve, max_lag: int = 8) -> LipCorrelation:
    """Compares mouth openings, shifted by up to `max_lag` frames; 0 at every lag for a mouth that stands still."""
    frames = len(true)
    if len(measured) != frames or frames < max_lag + 3:
        raise InputError(
            f"Mouth openings of {len(measured)} and {frames} frames cannot be compared at lags up to {max_lag}; "
            f"accepted are two of the same length, at least {max_lag + 3} frames."
        )
    if measured.std() < LEAST_MOVEMENT:
        return LipCorrelation(0.0, 0.0, 0)
    lags = sorted(range(-max_lag, max_lag + 1), key=abs)  # of equally good lags the smallest
    values = [
        float(correlation(measured[max(lag, 0) : frames + min(lag, 0)], true[max(-lag, 0) : frames - max(lag, 0)]))
        for lag in lags
    ]
    best = int(np.argmax(values))
    return LipCorrelation(values[best], values[0], lags[best])


def identity_drift(embeddings: Float[np.ndarray, "F E"]) -> float:
    """1 - cosine with frame 0, mean over the frames after it: 0 is the same person throughout, 1 an unrelated one."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return float(1 - (unit[1:] @ unit[0]).mean()) if len(unit) > 1 else 0.0


def psnr_of(
    frames: UInt8[np.ndarray, "F h w 3"], truth: UInt8[np.ndarray, "G i j 3"], mask: Bool[np.ndarray, "K m n"]
) -> float:
    """Decibels over the masked pixels of all frames but the first, which a model is given; NaN where there are none.

    At most 58.9, that of rounding to 8 bits, so that a part that came out exactly does not hide all others in a mean.
    InputError for shapes that differ.
    """
    if not frames.shape == truth.shape == (*mask.shape, 3):
        raise InputError(
            f"Frames {list(frames.shape)}, true ones {list(truth.shape)} and a mask {list(mask.shape)} do not belong "
            "together; accepted are [F, h, w, 3] twice and [F, h, w]."
        )
    inside = mask[1:]
    if not inside.any():
        return math.nan
    error = np.mean((frames[1:][inside].astype(np.float32) - truth[1:][inside]) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(error, ROUNDING)))


def correlation(a: Float[np.ndarray, "*R N"], b: Float[np.ndarray, "*R N"]) -> Float[np.ndarray, "*R"]:
    """Pearson's along the last axis; 0 where either side does not vary."""
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    scale = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    return np.where(scale > 1e-12, (a * b).sum(axis=-1) / np.maximum(scale, 1e-12), 0.0)
