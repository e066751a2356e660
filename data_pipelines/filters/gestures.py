"""How much hands move, in shoulder widths per second, as a pure function of keypoints.

Landmark models invent hands outside of the picture, and invented hands jump: without a gate by confidence and by the
frame, clips that show a head only score above clips with gestures.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter

from actavatar_jax.keypoints import CONFIDENT

NOSE, SHOULDERS = 0, [5, 6]
TIPS = np.array([4, 8, 12, 16, 20])  # of five fingers, counted from the hand's first point
HANDS = [[9, *(91 + TIPS)], [10, *(112 + TIPS)]]  # wrist and finger tips, left and right
SHOWN = 3  # of a hand's six points, for the hand to be visible
LEGS = [13, 14, 15, 16]
PROFILE = 10  # values per second: fine enough to move the border of an action to where hands rest


def measure_gestures(
    keypoints: Float[np.ndarray, "F 133 3"], height: int, width: int, fps: float | int
) -> dict[str, Any]:
    """Columns from x, y in pixels and confidence, for a picture of height x width pixels:

    score = speed x hand_visible. speed, speed_p95: mean and 95th percentile of the faster visible hand, where there is
    one (0 where there never is). hand_visible, leg_visible: fraction of time in which a hand, a knee or an ankle is.
    profile: mean speeds in equal steps of about 0.1 s over the clip, None where no hand is visible. head_speed,
    torso_speed: of the nose relative to the shoulders and of the shoulders in the picture, None where they are not
    seen. Speeds are in shoulder widths per second.
    """
    points = keypoints[..., :2].astype(float)
    confident = keypoints[..., 2] >= CONFIDENT
    inside = confident & ((points >= 0) & (points < [width, height])).all(-1)
    shoulders = confident[:, SHOULDERS].all(1)  # may lie a little outside, as in many portraits
    middle = points[:, SHOULDERS].mean(1)
    scale = _median(np.linalg.norm(points[:, 5] - points[:, 6], axis=-1)[shoulders])
    if not scale:
        shoulders, scale = np.zeros_like(shoulders), 1.0
    relative, middle = _smoothed(points - middle[:, None]) / scale, _smoothed(middle)

    gate = _pairs(inside & shoulders[:, None])
    steps = np.linalg.norm(np.diff(relative, axis=0), axis=-1) * fps
    hands = np.stack([_mean(steps[:, hand], gate[:, hand], SHOWN) for hand in HANDS])
    seen = ~np.isnan(hands).all(0)
    speed = np.fmax(*hands)
    torso = np.linalg.norm(np.diff(middle, axis=0), axis=-1)[_pairs(shoulders)] * fps / scale
    head = steps[:, NOSE][gate[:, NOSE]]
    mean = float(speed[seen].mean()) if seen.any() else 0.0
    visible = float(seen.mean()) if len(seen) else 0.0
    return {
        "score": mean * visible,
        "speed": mean,
        "speed_p95": float(np.percentile(speed[seen], 95)) if seen.any() else 0.0,
        "hand_visible": visible,
        "leg_visible": float(inside[:, LEGS].any(1).mean()),
        "profile": _profile(speed, fps),
        "head_speed": float(head.mean()) if len(head) else None,
        "torso_speed": float(torso.mean()) if len(torso) else None,
    }


def _smoothed(values: Float[np.ndarray, "F ..."]) -> Float[np.ndarray, "F ..."]:
    """The median of three frames; taken of places relative to the body, it is the same under a moving camera."""
    return median_filter(values, (3, *[1] * (values.ndim - 1)), mode="nearest")


def _pairs(shown: Bool[np.ndarray, "F ..."]) -> Bool[np.ndarray, "F-1 ..."]:
    """Whether something is shown in a frame and in the next one."""
    return shown[:-1] & shown[1:]


def _mean(values: Float[np.ndarray, "n p"], gate: Bool[np.ndarray, "n p"], least: int) -> Float[np.ndarray, " n"]:
    """Mean over the points that pass the gate, NaN where fewer than `least` do."""
    count = gate.sum(1)
    return np.where(count >= least, (values * gate).sum(1) / np.maximum(count, 1), np.nan)


def _median(values: Float[np.ndarray, " n"]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _profile(speed: Float[np.ndarray, " n"], fps: float | int) -> list[float | None]:
    """Means in equal steps of about 1 / PROFILE seconds, None where nothing is seen."""
    count = max(1, round((len(speed) + 1) * PROFILE / fps))
    bins = np.arange(len(speed)) * count // max(len(speed), 1)
    seen = ~np.isnan(speed)
    total, number = (np.bincount(bins[seen], weights, count) for weights in (speed[seen], None))
    return [value / n if n else None for value, n in zip(total.tolist(), number.tolist(), strict=True)]
