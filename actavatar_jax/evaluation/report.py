"""Figures with intervals, and how they are printed and stored."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from actavatar_jax.evaluation.measures import correlation

RESAMPLES, SEED = 1000, 0
LABELS = {
    "hit": "Hit@Segment",
    "accuracy": "action accuracy",
    "iou": "temporal IoU",
    "correctness": "temporal correctness, 0-10",
    "satisfied": "actions inside their window",
    "boundary": "boundary error of those seen, s",
    "iou_gap": "temporal IoU above shuffled",
    "centre": "centre correlation, single phase",
    "lip": "lip correlation at the best lag",
    "lip_at_zero": "lip correlation at lag 0",
    "lag": "best lag, frames (median)",
    "lag_within_1": "share of clips with lag at most 1",
    "drift": "identity drift",
    "psnr": "PSNR, dB",
    "psnr_whole": "PSNR without the first frame, dB",
    "psnr_hands": "... of raised hands",
    "psnr_mouth": "... of the mouth",
    "psnr_still": "... of what stands still",
}


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % bootstrap interval over `clips` clips; NaN where no clip has the figure."""

    value: float
    low: float
    high: float
    clips: int


@dataclass(frozen=True)
class Report:
    """Figures by name. `name_shuffled` and `name_swapped` are the figure `name` against wrong windows or speech."""

    clips: int
    figures: Mapping[str, Figure]

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]

    def line(self) -> str:
        """The figures that matter most, in one line."""
        parts = []
        for name, word in (("hit", "hit"), ("accuracy", "accuracy"), ("iou", "IoU"), ("centre", "centre r")):
            if name in self.figures:
                wrong = self.figures.get(f"{name}_shuffled")
                against = f" (shuffled {_short(wrong.value)})" if wrong else ""
                parts.append(f"{word} {_short(self.figures[name].value)}{against}")
        lip, lag, drift = (_short(self.figures[name].value) for name in ("lip", "lag", "drift"))
        parts.append(f"lips {lip} at lag {lag}")
        parts.append(f"drift {drift}")
        if "psnr" in self.figures:
            parts.append(f"PSNR {self.figures['psnr'].value:.1f} dB")
        return f"{', '.join(parts)} | {self.clips} clip{'s' * (self.clips != 1)}"

    def table(self) -> str:
        """Every figure on its own line, with its interval and what wrong windows give."""
        rows = [("figure", "value", "95 % interval", "shuffled", "swapped", "clips")]
        for name, label in LABELS.items():
            if figure := self.figures.get(name):
                wrong = [self.figures.get(f"{name}_{word}") for word in ("shuffled", "swapped")]
                interval = f"{_short(figure.low)} to {_short(figure.high)}"
                cells = [_short(other.value) if other else "-" for other in wrong]
                rows.append((label, _short(figure.value), interval, *cells, str(figure.clips)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in rows
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is not a finite number becomes None."""
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        for figure in figures.values():
            figure |= {key: None for key, value in figure.items() if not math.isfinite(value)}
        return {"clips": self.clips, "figures": figures}


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # adding zero turns -0.0 into 0.0


# ---- figures from one number per clip


def mean_figure(values: Sequence[float | None], weights: Float[np.ndarray, " N"] | None = None) -> Figure:
    """Weighted mean; clips without a value count neither in the mean nor in `clips`."""
    there = np.array([value is not None for value in values])
    filled = np.array([0.0 if value is None else float(value) for value in values])
    weight = there * (np.ones(len(filled)) if weights is None else weights)

    def mean(rows: Int[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weight * np.where(there, filled, 0))[rows].sum(axis=1) / weight[rows].sum(axis=1)

    return bootstrap(mean, len(filled), int(there.sum()))


def median_figure(values: Sequence[float]) -> Figure:
    """Median over clips."""
    array = np.array(values, float)
    return bootstrap(lambda rows: np.median(array[rows], axis=1), len(array), len(array))


def correlations(seen: Float[np.ndarray, " N"], asked: Float[np.ndarray, " N"]) -> dict[str, Figure]:
    """`centre`: correlation of seen and asked centres; `centre_shuffled`: the same with every wrong pairing.

    Fewer than three clips have no correlation: no figures.
    """
    count = len(seen)
    if count < 3:
        return {}
    shifts = range(1, count)

    def right(rows: Int[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
        return correlation(seen[rows], asked[rows])

    def wrong(rows: Int[np.ndarray, "R N"]) -> Float[np.ndarray, " R"]:
        return np.mean([correlation(seen[rows], np.roll(asked, shift)[rows]) for shift in shifts], axis=0)

    return {"centre": bootstrap(right, count, count), "centre_shuffled": bootstrap(wrong, count, count)}


def bootstrap(statistic: Callable, count: int, clips: int) -> Figure:
    """A figure of `clips` of `count` clips; `statistic` takes rows of their numbers [R, N] and gives R values."""
    if not clips:
        return Figure(math.nan, math.nan, math.nan, 0)
    value = float(statistic(np.arange(count)[None])[0])
    drawn = statistic(np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count)))
    low, high = np.nanpercentile(drawn, (2.5, 97.5)) if np.isfinite(value) else (value, value)
    return Figure(value, float(low), float(high), clips)
