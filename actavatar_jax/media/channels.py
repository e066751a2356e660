"""From many channels to fewer: c channels, in the order and with the names that FFmpeg gives them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from actavatar_jax.media.notes import warn_once

HALF = 0.5**0.5  # -3 dB

# Share of each channel in left and right: ITU-R BS.775-3, annex 4, table 2. Low-frequency effects are left out there.
SHARES = {
    "FL": (1, 0), "FR": (0, 1), "FC": (HALF, HALF), "LFE": (0, 0), "BC": (0.5, 0.5),
    "BL": (HALF, 0), "BR": (0, HALF), "SL": (HALF, 0), "SR": (0, HALF),
}  # fmt: skip
SURROUND = ("FL", "FR", "FC", "LFE", "BL", "BR")  # 5.1
CANCELLED = 0.1  # of the energy of two channels must be left in their mean


def to_stereo(samples: Float32[np.ndarray, "n c"], names: Sequence[str]) -> Float32[np.ndarray, "n k"]:
    """Left and right of three channels or more; channels of unknown places become one (k = 1), their mean."""
    if not SHARES.keys() >= set(names):
        return samples.mean(1, keepdims=True)
    return samples @ np.array([SHARES[name] for name in names], np.float32)


def fold(samples: Float32[np.ndarray, "n c"], names: Sequence[str] = SURROUND) -> Float32[np.ndarray, "n k"]:
    """One channel of three or more, in which the centre is as it was: left and right at -3 dB. Fewer stay."""
    if samples.shape[1] <= 2:
        return samples
    sides = to_stereo(samples, names)
    return sides if sides.shape[1] == 1 else np.float32(HALF) * sides.sum(1, keepdims=True)


def match(samples: Float32[np.ndarray, "n c"], names: Sequence[str], count: int) -> Float32[np.ndarray, "n count"]:
    """As many channels as asked for: 1, 2 or 6 (5.1). Those that there are already stay as they are."""
    if samples.shape[1] == count:
        return samples
    if count == 1:
        return fold(samples, names).mean(1, keepdims=True)
    sides = samples if samples.shape[1] <= 2 else to_stereo(samples, names)
    if count == 2:
        return sides if sides.shape[1] == 2 else np.repeat(sides, 2, axis=1)
    around = np.zeros((len(samples), count), np.float32)
    around[:, [SURROUND.index("FC")] if sides.shape[1] == 1 else [0, 1]] = sides
    return around


def merge(pieces: list[Float32[np.ndarray, "_ c"]], name: str) -> Float32[np.ndarray, " n"]:
    """One channel of the pieces of one or two, whose list is emptied: their mean, or the louder where that is lost.

    In the mean of two channels of opposite sign, as a wrongly wired cable gives, speech is gone; that is logged.
    """
    channel = _louder(pieces, name)
    for index, piece in enumerate(pieces):
        pieces[index] = piece.mean(1) if channel is None else piece[:, channel].copy()
    merged = np.concatenate(pieces)
    pieces.clear()
    return merged


def _louder(pieces: list[Float32[np.ndarray, "_ c"]], name: str) -> int | None:
    """The channel to be heard alone, None where the mean is."""
    if pieces[0].shape[1] == 1:
        return None
    energies = sum(np.square(piece, dtype=np.float64).sum(0) for piece in pieces)
    left = sum(np.square(piece.mean(1), dtype=np.float64).sum() for piece in pieces)
    if not left < CANCELLED * energies.mean():
        return None
    channel = int(energies.argmax())
    lost = f"the mean of its two channels has {left / energies.mean():.1%} of their energy"
    warn_once(f"{name}: {lost}, so only the {('left', 'right')[channel]} one is heard")
    return channel
