"""From codes of high dynamic range or of a wide gamut to sRGB, by way of light.

Light is relative to the white of sRGB, which ITU-R BT.2408 puts at 203 cd/m2 of a high dynamic range.
"""

import functools
from collections.abc import Callable

import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc
from jaxtyping import Float32, UInt8, UInt16

WHITE = 203  # cd/m2
PEAK, SYSTEM_GAMMA = 1000, 1.2  # of the display for which HLG is: ITU-R BT.2100, table 5
LEVELS = 2**16
ONE = 255 * 2**8  # the 16-bit code of 1 in what FFmpeg makes of YCbCr
D65 = 0.3127, 0.3290
# x and y of red, green and blue: ITU-R BT.709, ITU-R BT.2020, SMPTE EG 432-1
BT709 = (0.64, 0.33), (0.30, 0.60), (0.15, 0.06)
P3 = (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)
WIDE = {
    ColorPrimaries.BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    ColorPrimaries.SMPTE431: P3,
    ColorPrimaries.SMPTE432: P3,
}


def map_to_srgb(codes: UInt16[np.ndarray, "H W 3"], curve: int, primaries: int) -> UInt8[np.ndarray, "H W 3"]:
    """sRGB of 16-bit codes. What is brighter than white or outside the gamut is clipped.

    curve, primaries: by their numbers in ITU-T H.273. Codes of another curve than PQ and HLG are taken for sRGB's.
    """
    light = _light_of_codes(curve)[codes]
    if curve == ColorTrc.ARIB_STD_B67:
        luminance = light @ _to_xyz(WIDE.get(primaries, BT709))[1].astype(np.float32)
        light *= (PEAK / WHITE) * luminance[..., None] ** np.float32(SYSTEM_GAMMA - 1)
    if primaries in WIDE:
        light = light @ _to_bt709(primaries).T
    np.clip(light, 0, 1, out=light)
    return _srgb_of_light()[np.rint(light * (LEVELS - 1)).astype(np.uint16)]


@functools.cache
def _light_of_codes(curve: int) -> Float32[np.ndarray, " levels"]:
    """Light of each code; for HLG that of the scene, from 0 to 1."""
    curves = {ColorTrc.SMPTE2084: _pq_light, ColorTrc.ARIB_STD_B67: _hlg_light}
    light: Callable = curves.get(curve, _srgb_light)
    return light(np.minimum(np.arange(LEVELS) / ONE, 1)).astype(np.float32)


def _pq_light(code: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 1305 / 8192, 2523 / 32, 107 / 128, 2413 / 128, 2392 / 128
    root = code ** (1 / m2)
    return 10_000 / WHITE * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def _hlg_light(code: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, table 5: the inverse of its OETF."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _srgb_light(code: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


@functools.cache
def _srgb_of_light() -> UInt8[np.ndarray, " levels"]:
    light = np.arange(LEVELS) / (LEVELS - 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * code).astype(np.uint8)


@functools.cache
def _to_bt709(primaries: int) -> Float32[np.ndarray, "3 3"]:
    return (np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(WIDE[primaries])).astype(np.float32)


def _to_xyz(colorants: tuple[tuple[float, float], ...]) -> np.ndarray:
    """From light of three primaries whose white is D65 to XYZ: SMPTE RP 177."""
    colours = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (*colorants, D65)]).T
    return colours[:, :3] * np.linalg.solve(colours[:, :3], colours[:, 3])
