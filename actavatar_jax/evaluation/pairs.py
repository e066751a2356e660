"""Measures of videos that belong together frame by frame: a clip and its decode, or its re-animation.

Every one is a mean over all frames, with an interval over videos. h w pixels.
"""

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.features import run_batches
from actavatar_jax.evaluation.measures import ROUNDING
from actavatar_jax.evaluation.published import PUBLISHED, read_published
from actavatar_jax.evaluation.report import mean_figure
from actavatar_jax.evaluation.results import PairScore
from actavatar_jax.evaluation.videos import Frame, Source, Videos, each_pair

BATCH = 8
FILTER = 11  # pixels a side of SSIM's Gaussian, whose deviation is 1.5

Pairs = Iterator[tuple[Frame, Frame]]


def psnr(real: Videos, generated: Videos) -> PairScore:
    """Decibels, mean over frames; of an exact frame 58.9, which is what rounding to 8 bits leaves.

    `media.psnr` takes a clip as one large picture, and `measures.psnr_of` parts of it.

    Args:
      real, generated: as of `fid`; videos of one place, or of two folders of one name, are a pair.

    Raises:
      InputError: videos that are no pair, or pairs of other sizes or lengths.
    """
    return _score(open_psnr(), real, generated)


def ssim(real: Videos, generated: Videos) -> PairScore:
    """Structural similarity, mean over frames and colours: Gaussian of 11x11, deviation 1.5, of what lies whole inside
    the picture. By dm-pix, which the `eval` extra brings.

    Source: Wang et al., IEEE Transactions on Image Processing 13 (2004). Arguments are those of `psnr`.

    Raises:
      InputError: as `psnr`, dm-pix is not installed, or a side is below 11 pixels.
    """
    return _score(open_ssim(), real, generated)


def lpips(real: Videos, generated: Videos, trunk: str | Path | None, heads: str | Path | None) -> PairScore:
    """Learned perceptual distance (arXiv 1801.03924) with AlexNet, mean over frames; 0 for equal ones.

    Args:
      real, generated: as of `psnr`.
      trunk: path to torchvision's `alexnet-owt-7be5be79.pth`.
      heads: path to `lpips/weights/v0.1/alex.pth` of the package lpips.

    Raises:
      InputError: as `psnr`, there are no weights, or a side is below 31 pixels.
    """
    return _score(open_lpips(trunk, heads), real, generated)


@dataclass(frozen=True)
class Comparison:
    """A measure of pairs that is ready to be used, with its network if it has one."""

    measure: str
    backbone: str
    compare: Callable[[Pairs], Iterator[float]]

    def of(self, real: Source, generated: Source) -> Float[np.ndarray, " F"]:
        """Of every frame of a pair. Raises InputError as `psnr`."""
        return np.array(list(self.compare(_frames(real, generated))), float)


def open_psnr() -> Comparison:
    return Comparison("PSNR", "peak 255", lambda pairs: itertools.starmap(_decibels, pairs))


def open_ssim() -> Comparison:
    """Raises InputError: dm-pix is not installed."""
    compare = _dm_pix_ssim()
    return Comparison("SSIM", "dm-pix, 11x11 inside", lambda pairs: map(compare, _large(pairs)))


def open_lpips(trunk: str | Path | None, heads: str | Path | None) -> Comparison:
    """Raises InputError: there are no weights."""
    published = PUBLISHED["lpips"]
    params = read_published("lpips", "LPIPS", [trunk, heads])

    def distances(pairs: Pairs) -> Iterator[float]:
        scaled = (tuple(np.float32(frame) / np.float32(127.5) - 1 for frame in pair) for pair in pairs)
        return itertools.chain.from_iterable(run_batches(published.network, params, scaled, BATCH))

    return Comparison("LPIPS", published.title, distances)


def _score(comparison: Comparison, real: Videos, generated: Videos) -> PairScore:
    values = [comparison.of(*pair) for pair in each_pair(real, generated)]
    figure = mean_figure([float(own.mean()) for own in values], np.array([len(own) for own in values], float))
    interval = (figure.low, figure.high) if len(values) > 1 else None
    frames = sum(map(len, values))
    return PairScore(comparison.measure, figure.value, interval, frames, len(values), comparison.backbone)


def _frames(real: Source, generated: Source) -> Pairs:
    for number, (one, other) in enumerate(itertools.zip_longest(real.frames(), generated.frames())):
        if one is None or other is None:
            shorter = real if one is None else generated
            raise InputError(
                f"{shorter.name} ends after {number} frames, its pair does not; accepted are equal lengths."
            )
        if one.shape != other.shape:
            sizes = " and ".join(f"{frame.shape[1]}x{frame.shape[0]}" for frame in (one, other))
            raise InputError(f"{real.name} and {generated.name} have frames of {sizes}; accepted are equal sizes.")
        yield one, other


def _decibels(one: Frame, other: Frame) -> float:
    error = np.mean((one.astype(np.float32) - other) ** 2, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(error, ROUNDING)))


def _dm_pix_ssim() -> Callable[[tuple[Frame, Frame]], float]:
    try:
        dm_pix = importlib.import_module("dm_pix")
    except ImportError as error:
        raise InputError(
            f'SSIM is not available: it needs dm-pix: pip install "actavatar-jax[eval]" ({error}).'
        ) from error
    compare = jax.jit(functools.partial(dm_pix.ssim, filter_size=FILTER))
    return lambda pair: float(compare(*(_unit(frame) for frame in pair)))


def _large(pairs: Pairs) -> Pairs:
    for one, other in pairs:
        if min(one.shape[:2]) < FILTER:
            raise InputError(f"SSIM got frames of {one.shape[1]}x{one.shape[0]}; accepted are sides from {FILTER} on.")
        yield one, other


def _unit(frame: Frame) -> Float[np.ndarray, "h w 3"]:
    return frame.astype(np.float32) / np.float32(255)
