"""Distances between a set of real and a set of generated videos: FID, KID and FVD.

They say how the sets differ as wholes; no video is compared with another. See docs/evaluation.md on what they mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.checks import WHOLE, checked
from actavatar_jax.evaluation.features import Extractor, clip_extractor, image_extractor
from actavatar_jax.evaluation.frechet import (
    Group,
    RunningStatistics,
    Statistics,
    frechet_distance,
    frechet_interval,
)
from actavatar_jax.evaluation.kernel import kernel_distance
from actavatar_jax.evaluation.results import SetDistance
from actavatar_jax.evaluation.videos import Videos

RESAMPLES = 100


def fid(
    real: Videos,
    generated: Videos,
    weights: str | Path | None,
    resize: str = "clean",
    resamples: int = RESAMPLES,
    cache: str | Path | None = None,
) -> SetDistance:
    """Frechet Inception distance of all frames (arXiv 1706.08500).

    Args:
      real, generated: a folder of videos, or an iterable of paths, of arrays uint8 [F, h, w, 3] or of iterators of
        frames uint8 [h, w, 3]. Files are read at 25 frames a second.
      weights: path to `pt_inception-2015-12-05-6726825d.pth`, or to the same tensors as safetensors.
      resize: "clean" as clean-fid (arXiv 2104.11222), or "legacy_pytorch" as pytorch-fid.
      resamples: draws of the 95 % interval over videos; 0 for none, and then no features are kept in memory.
      cache: a folder for the features of files.

    Raises:
      InputError: there are no weights or videos, they cannot be read, or a set has fewer than 2 frames.
    """
    return _frechet("FID", image_extractor("FID", weights, resize), real, generated, resamples, cache)


def kid(
    real: Videos,
    generated: Videos,
    weights: str | Path | None,
    resize: str = "clean",
    resamples: int = RESAMPLES,
    cache: str | Path | None = None,
) -> SetDistance:
    """Kernel Inception distance of all frames (arXiv 1801.01401), free of small sets' bias; see `kernel_distance`.

    Arguments are those of `fid`; with `cache`, whichever comes second reads the features of the first.

    Raises:
      InputError: as `fid`, and a set has fewer than 2 videos.
    """
    extractor = image_extractor("KID", weights, resize)
    sets = [_gather(extractor.groups(videos, cache), keep=True) for videos in (real, generated)]
    value, interval = kernel_distance(*(one.groups for one in sets), _checked(resamples))
    return _result("KID", extractor, sets, value, interval)


def fvd(
    real: Videos,
    generated: Videos,
    weights: str | Path | None,
    frames: int = 16,
    resamples: int = RESAMPLES,
    cache: str | Path | None = None,
) -> SetDistance:
    """Frechet video distance (arXiv 1812.01717) of all windows of `frames` frames.

    Windows lie side by side from the first frame on; what is left over at the end does not count. The measure is called
    `fvd_16`, or what else the windows' length is; with that of the videos themselves it is of whole clips.

    Args:
      weights: path to `i3d_pretrained_400.pt`, or to the same tensors as safetensors; the others are as of `fid`.

    Raises:
      InputError: as `fid`, and a video is shorter than a window, or windows are shorter than 10 frames.
    """
    extractor = clip_extractor("FVD", weights, frames)
    return _frechet(f"fvd_{frames}", extractor, real, generated, resamples, cache)


@dataclass(frozen=True, eq=False)
class _Set:
    statistics: Statistics
    videos: int
    groups: list[Group]  # none where they are not needed


def _frechet(
    measure: str, extractor: Extractor, real: Videos, generated: Videos, resamples: int, cache: str | Path | None
) -> SetDistance:
    resamples = _checked(resamples)
    sets = [_gather(extractor.groups(videos, cache), keep=resamples > 0) for videos in (real, generated)]
    value = frechet_distance(*(one.statistics for one in sets))
    interval = frechet_interval(value, *(one.groups for one in sets), resamples)
    return _result(measure, extractor, sets, value, interval)


def _gather(groups: Iterator[Group], keep: bool) -> _Set:
    kept, videos, running = [], 0, None
    for group in groups:
        running = running or RunningStatistics(group.shape[1])
        running.add(group)
        videos += 1
        if keep:
            kept.append(group)
    return _Set(running.result(), videos, kept)


def _result(
    measure: str, extractor: Extractor, sets: list[_Set], value: float, interval: tuple[float, float] | None
) -> SetDistance:
    samples, videos = (tuple(figures) for figures in zip(*((s.statistics.count, s.videos) for s in sets), strict=True))
    return SetDistance(measure, value, interval, samples, videos, extractor.backbone, extractor.resize)


def _checked(resamples: int) -> int:
    return checked("number of resamples", resamples, int, WHOLE)
