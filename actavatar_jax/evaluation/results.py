"""What measures of sets and pairs of videos answer: never a number without what it is a number of."""

import math
from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class SetDistance:
    """A distance between a real and a generated set; figures in pairs are of these two.

    Only distances of one measure, backbone, way of resizing and number of samples can be compared.
    """

    measure: str
    value: float
    interval: Interval | None  # 95 %, None where none was asked for or a set is of one video
    samples: tuple[int, int]  # feature vectors
    videos: tuple[int, int]
    backbone: str
    resize: str

    def line(self) -> str:
        """Everything, in one line."""
        counts = " and ".join(f"{n:,}" for n in self.samples), " and ".join(f"{n:,}" for n in self.videos)
        sizes = f"{counts[0]} samples of {counts[1]} videos"
        return f"{_figure(self.measure, self.value, self.interval)} | {sizes} | {self.backbone} | {self.resize}"


@dataclass(frozen=True)
class PairScore:
    """A mean over the frames of paired videos, with its 95 % interval over videos (None for one video)."""

    measure: str
    value: float
    interval: Interval | None
    frames: int
    videos: int
    backbone: str

    def line(self) -> str:
        """Everything, in one line."""
        sizes = f"{self.frames:,} frames of {self.videos:,} video{'s' * (self.videos != 1)}"
        return f"{_figure(self.measure, self.value, self.interval)} | {sizes} | {self.backbone}"


@dataclass(frozen=True)
class IdentityScore(PairScore):
    """Cosines of faces with their reference; `frames` is the number of those with a face, NaN stands for no such frame.

    coverage: the share of frames with a face. lowest: the 5th percentile of the cosines, which tells drift.
    """

    coverage: float
    lowest: float

    def line(self) -> str:
        """Everything, in one line."""
        return f"{super().line()} | 5th percentile {_short(self.lowest)}, coverage {self.coverage:.1%}"


def _figure(measure: str, value: float, interval: Interval | None) -> str:
    told = f" ({_short(interval[0])} to {_short(interval[1])})" if interval else ""
    return f"{measure} {_short(value)}{told}"


def _short(value: float) -> str:
    """Four digits that count."""
    return f"{value:.4g}" if math.isfinite(value) else "none"
