"""FID, KID and FVD of a folder of videos: one number of all clips together, none of a single one."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import Column, Scores
from actavatar_jax.evaluation.report import Figure
from actavatar_jax.evaluation.results import SetDistance
from actavatar_jax.evaluation.sets import fid, fvd, kid
from actavatar_jax.synchrony import NotScored

FVD_FRAMES = 16  # of a window
TITLES = {"fid": "FID", "kid": "KID", "fvd": f"FVD, windows of {FVD_FRAMES} frames"}


@dataclass(frozen=True)
class SetMetric:
    """A distance of all clips that are long enough from all real videos; features are kept, by file."""

    name: str
    weights: Path
    real: Path
    digests: Mapping[str, Any]

    @property
    def columns(self) -> tuple[Column, ...]:
        return (Column(self.name, TITLES[self.name], "lower"),)

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores:
        least = FVD_FRAMES if self.name == "fvd" else 1
        long = [clip for clip in clips if clip.frames >= least]
        detail = f"it has fewer than {least} frames"
        reasons = {clip.item.id: NotScored("too short", detail) for clip in clips if clip.frames < least}
        if not long:
            raise InputError(f"{TITLES[self.name]} is not available: there is no clip to measure.")
        found = self._distance(_counted(long, step), kept.folder / "features")
        low, high = found.interval or (math.nan, math.nan)
        figure = Figure(found.value, low, high, found.videos[1])
        about = {"backbone": found.backbone, "resize": found.resize, **self.digests}
        # What was drawn from how many decides as much as the weights do: other numbers cannot be compared.
        about |= {"samples": list(found.samples), "videos": list(found.videos)}
        return Scores({clip.item.id: {} for clip in long}, reasons, {self.name: figure}, about)

    def _distance(self, paths: Iterator[Path], cache: Path) -> SetDistance:
        if self.name == "fvd":
            return fvd(self.real, paths, self.weights, FVD_FRAMES, cache=cache)
        return {"fid": fid, "kid": kid}[self.name](self.real, paths, self.weights, cache=cache)


def open_set(name: str, weights: Path, real: Path | None, digests: Mapping[str, Any]) -> SetMetric:
    """Raises InputError: there are no real videos."""
    if real is None:
        raise InputError(f"{name.upper()} is not available: it compares with a set of real videos; none were given.")
    return SetMetric(name, weights, real, digests)


def _counted(clips: Sequence[BenchClip], step: Callable[[], object]) -> Iterator[Path]:
    for clip in clips:
        yield clip.path
        step()
