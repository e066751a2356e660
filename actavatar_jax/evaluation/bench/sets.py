"""FID, KID and FVD of a folder of videos: one number of all clips together, none of a single one."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import Column, Scores
from actavatar_jax.evaluation.features import Extractor, clip_extractor, image_extractor
from actavatar_jax.evaluation.report import Figure
from actavatar_jax.evaluation.results import SetDistance
from actavatar_jax.evaluation.sets import RESAMPLES, fid, fvd, kid
from actavatar_jax.synchrony import NotScored

FVD_FRAMES = (16, 125)  # of a window; over 125, a clip of five seconds, the network takes the mean


@dataclass(frozen=True)
class SetMetric:
    """A distance of all clips that are long enough from all real videos; features are kept, by file.

    windows: frames of what is compared, the shortest first; a column each. resamples: draws of the intervals.
    """

    name: str
    weights: Path
    real: Path
    digests: Mapping[str, Any]
    windows: tuple[int, ...]
    resamples: int

    @property
    def columns(self) -> tuple[Column, ...]:
        if self.name == "fvd":
            return tuple(Column(f"fvd_{n}", f"FVD, windows of {n} frames", "lower") for n in self.windows)
        return (Column(self.name, self.name.upper(), "lower"),)

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores:
        least, *longer = self.windows
        long = [clip for clip in clips if clip.frames >= least]
        detail = f"it has fewer than {least} frames"
        reasons = {clip.item.id: NotScored("too short", detail) for clip in clips if clip.frames < least}
        if not long:
            raise InputError(f"{self.name.upper()} is not available: there is no clip to measure.")
        cache = _cache(kept)
        first, *others = self.columns
        found, remarks = {first.name: self._distance(_counted(long, step), least, cache)}, []
        for column, frames in zip(others, longer, strict=True):
            if paths := [clip.path for clip in long if clip.frames >= frames]:
                try:
                    found[column.name] = self._distance(paths, frames, cache)
                except InputError as error:  # the set of shorter windows is one, that of longer ones is none
                    remarks.append(f"{column.title}: {error}")
            else:
                remarks.append(f"{column.title}: no clip has so many")
        figures = {column.name: _figure(found.get(column.name)) for column in self.columns}
        about = {"backbone": found[first.name].backbone, "resize": found[first.name].resize, **self.digests}
        # What was drawn from how many decides as much as the weights do: other numbers cannot be compared.
        about |= {name: {c: list(getattr(one, name)) for c, one in found.items()} for name in ("samples", "videos")}
        rows = {clip.item.id: {} for clip in long}
        return Scores(rows, reasons, figures, about, {"remarks": remarks})

    @functools.cached_property
    def extractors(self) -> dict[int, Extractor]:
        """What makes the features of each column, by the frames of its windows."""
        if self.name == "fvd":
            return {frames: clip_extractor("FVD", self.weights, frames) for frames in self.windows}
        return {1: image_extractor(self.name.upper(), self.weights, "clean")}

    def extract(self, path: Path, frames: int | None, kept: Kept) -> None:
        """Makes the features of a video of so many frames, which are kept for `score`; None: nobody has counted them.

        InputError where it cannot be read, or where it is shorter than a window and that was not known.
        """
        for least, extractor in self.extractors.items():
            if frames is None or frames >= least:
                for _ in extractor.groups([path], _cache(kept)):
                    pass

    def _distance(self, paths: Iterable[Path], frames: int, cache: Path) -> SetDistance:
        if self.name == "fvd":
            return fvd(self.real, paths, self.weights, frames, self.resamples, cache)
        distance = {"fid": fid, "kid": kid}[self.name]
        return distance(self.real, paths, self.weights, resamples=self.resamples, cache=cache)


def open_set(
    name: str, weights: Path, real: Path | None, digests: Mapping[str, Any], resamples: int = RESAMPLES
) -> SetMetric:
    """Raises InputError: there are no real videos."""
    if real is None:
        raise InputError(f"{name.upper()} is not available: it compares with a set of real videos; none were given.")
    return SetMetric(name, weights, real, digests, FVD_FRAMES if name == "fvd" else (1,), resamples)


def _cache(kept: Kept) -> Path:
    return kept.folder / "features"


def _counted(clips: Sequence[BenchClip], step: Callable[[], object]) -> Iterator[Path]:
    for clip in clips:
        yield clip.path
        step()


def _figure(found: SetDistance | None) -> Figure:
    if found is None:
        return Figure(math.nan, math.nan, math.nan, 0)
    low, high = found.interval or (math.nan, math.nan)
    return Figure(found.value, low, high, found.videos[1])
