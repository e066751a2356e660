"""Every frame with the mean and deviation of the first one's colours, in CIE LAB of eight bits as OpenCV has it.

F frames, h w pixel sides. Source: antgroup/echomimic_v3 `src/utils.py`; formulas: OpenCV's documentation of cvtColor.
"""

import numpy as np
from jaxtyping import Float, Float32, Int64, UInt8

# sRGB's primaries to XYZ, and white (D65).
_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.950456, 1.0, 1.088754])
_TO_WHITE = _TO_XYZ / _WHITE[:, None]
_TO_RGB = np.linalg.inv(_TO_WHITE).astype(np.float32)
_BEND = 0.008856  # below, the cube root is a straight line


def match_colours(frames: UInt8[np.ndarray, "F h w 3"]) -> UInt8[np.ndarray, "F h w 3"]:
    """The frames after the first with its mean and deviation in each channel of LAB."""
    if len(frames) == 1:
        return frames
    target = _statistics(rgb_to_lab(frames[0]))
    return np.stack([frames[0], *(_matched(frame, target) for frame in frames[1:])])


def _matched(frame: UInt8[np.ndarray, "h w 3"], target: Float[np.ndarray, "2 3"]) -> UInt8[np.ndarray, "h w 3"]:
    lab = rgb_to_lab(frame)
    (mean, deviation), (wanted, spread) = _statistics(lab), target
    # A flat channel has no deviation to scale; the original divides by zero.
    scale = np.divide(spread, deviation, out=np.ones(3), where=deviation > 0)
    moved = (lab.astype(np.float32) - mean.astype(np.float32)) * scale.astype(np.float32) + wanted.astype(np.float32)
    return lab_to_rgb(np.clip(np.rint(moved), 0, 255).astype(np.uint8))


def _statistics(lab: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "2 3"]:
    values = lab.reshape(-1, 3)
    return np.round([values.mean(0, np.float64), values.std(0, np.float64)], 2)


def rgb_to_lab(rgb: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """L of 0 to 100 as 0 to 255, a and b with 128 added; in whole numbers, bit for bit as OpenCV."""
    xyz = _shift(_LINEAR[rgb] @ np.rint(_TO_WHITE.T * 2**12).astype(np.int64), 12)
    x, y, z = np.moveaxis(_ROOT[xyz], -1, 0)
    lab = np.stack([296 * y - (16 * 255 * _ONE + 50) // 100, 500 * (x - y) + 128 * _ONE, 200 * (y - z) + 128 * _ONE])
    return np.moveaxis(np.clip(_shift(lab, 15), 0, 255), 0, -1).astype(np.uint8)


def lab_to_rgb(lab: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The inverse of `rgb_to_lab`, to the rounding of both."""
    level, a, b = np.moveaxis(lab.astype(np.float32), -1, 0)
    y = (level / 2.55 + 16) / 116
    root = np.stack([y + (a - 128) / 500, y, y - (b - 128) / 200], axis=-1)
    xyz = np.where(root**3 > _BEND, root**3, (root - 16 / 116) / 7.787)
    return np.rint(255 * _gamma(np.clip(xyz @ _TO_RGB.T, 0, 1))).astype(np.uint8)


def _gamma(linear: Float32[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    return np.where(linear > 0.0031308, 1.055 * linear ** np.float32(1 / 2.4) - 0.055, 12.92 * linear)


def _shift(values: Int64[np.ndarray, "..."], bits: int) -> Int64[np.ndarray, "..."]:
    """Divided by a power of two and rounded."""
    return (values + (1 << bits >> 1)) >> bits


# Tables of OpenCV: linear light in units of 1 / (8 * 255), and the cube root of such in units of 2^-15.
_ONE = 2**15
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92)
_LINEAR = np.rint(8 * 255 * _LINEAR).astype(np.int64)
_STEPS = np.arange(8 * 256 * 3 // 2, dtype=np.float32) / np.float32(8 * 255)
_ROOT = np.where(_STEPS < _BEND, 7.787 * _STEPS + np.float32(16 / 116), np.cbrt(_STEPS))
_ROOT = np.rint(_ONE * _ROOT).astype(np.int64)
