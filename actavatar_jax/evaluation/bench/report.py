"""What came of a bench: figures with intervals and coverage, rows of clips, reasons; as JSON and in lines of text."""

import math
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from actavatar_jax.evaluation.bench.clips import Results
from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.evaluation.bench.metric import Column, Row, Scores
from actavatar_jax.evaluation.report import Figure
from actavatar_jax.storage import named, read_json, write_json
from actavatar_jax.synchrony import NotScored

JSON, PAGE = "report.json", "report.html"
LARGEST = 2**28  # bytes
PROGRAMS = ("jax", "numpy", "av")


@dataclass(frozen=True)
class MetricReport:
    """A metric's scores, or the reason why it is not available."""

    name: str
    columns: tuple[Column, ...] = ()
    scores: Scores | None = None
    reason: str = ""

    @property
    def means(self) -> list[tuple[Column, Figure]]:
        return [(column, self.scores.figures[column.name]) for column in self.columns if column.mean]

    def remarks(self, planned: int) -> list[str]:
        """What is said of the figures, and what share of the clips other rules would score."""
        remarks = list(self.scores.notes.get("remarks", ()))
        if self.scores.scored_at:
            shares = (f"{share:.0%} at {rule}" for rule, share in self._shares(planned).items())
            remarks.append(f"clips that are scored: {', '.join(shares)}")
        return remarks

    def _shares(self, planned: int) -> dict[str, float]:
        return {rule: count / planned for rule, count in self.scores.scored_at.items()}

    def to_dict(self, planned: int, found: Results) -> dict[str, Any]:
        if self.scores is None:
            return {"available": False, "reason": self.reason}
        reasons = Counter(reason.reason for reason in (found.reasons | self.scores.reasons).values())
        return {
            "available": True,
            "clips": planned,
            "scored": len(self.scores.rows),
            "coverage": len(self.scores.rows) / planned,
            **({"coverage_at": self._shares(planned)} if self.scores.scored_at else {}),
            "not_scored": dict(reasons.most_common()),
            **self.scores.about,
            **self.scores.notes,
            "figures": {
                column.name: {"title": column.title, "better": column.better, **finite(vars(figure))}
                for column, figure in self.means
            },
        }


@dataclass
class BenchReport:
    """Of one results folder; `comparison` says how it differs from another one."""

    results: str
    bench: str
    bench_digest: str
    items: Sequence[BenchItem]
    found: Results
    metrics: Sequence[MetricReport]
    comparison: dict[str, Any] | None = None
    program: Mapping[str, str] = field(default_factory=lambda: _program())

    @property
    def available(self) -> list[MetricReport]:
        return [metric for metric in self.metrics if metric.scores is not None]

    def row(self, clip: str) -> Row:
        """All numbers of a clip; those it has not are left out."""
        names = [(metric, column.name) for metric in self.available for column in metric.columns]
        rows = {name: metric.scores.rows.get(clip, {}).get(name) for metric, name in names}
        return {name: value for name, value in rows.items() if value is not None}

    def reasons(self, clip: str) -> dict[str, NotScored]:
        """Why a clip is without a score, by metric; of one that cannot be measured at all under 'all'."""
        if clip in self.found.reasons:
            return {"all": self.found.reasons[clip]}
        there = ((metric.name, metric.scores.reasons.get(clip)) for metric in self.available)
        return {name: reason for name, reason in there if reason}

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers that are none are null."""
        clips = [
            {
                "id": item.id,
                "scores": self.row(item.id),
                "not_scored": {name: vars(reason) for name, reason in self.reasons(item.id).items()},
            }
            for item in self.items
        ]
        return {
            "program": dict(self.program),
            "results": self.results,
            "bench": {"file": self.bench, "digest": self.bench_digest, "items": len(self.items)},
            "metrics": {metric.name: metric.to_dict(len(self.items), self.found) for metric in self.metrics},
            "comparison": self.comparison,
            "clips": clips,
            "extra": list(self.found.extra),
        }

    def write(self, folder: Path) -> None:
        from actavatar_jax.evaluation.bench.page import render  # of an extra

        write_json(folder / JSON, self.to_dict())
        render(self, folder / PAGE)

    def table(self) -> str:
        """A line for each figure, with its interval and what it is of; then what is not available, and what has no
        score."""
        planned, lines = len(self.items), []
        for metric in self.metrics:
            if metric.scores is None:
                lines.append(f"{metric.name}: {metric.reason}")
                continue
            lines += [
                f"{column.title}: {told(figure)} | {figure.clips} of {planned} clips" for column, figure in metric.means
            ]
            lines += [f"{metric.name}: {remark}" for remark in metric.remarks(planned)]
            if metric.scores.reasons:
                lines.append(f"{metric.name}, not scored: {reasons_line(metric.scores.reasons)}")
        if self.found.reasons:
            lines.append(f"not scored by any: {reasons_line(self.found.reasons)}")
        if self.found.extra:
            lines.append(f"no item asks for {len(self.found.extra)} videos, such as {named(self.found.extra[0])}")
        return "\n".join(lines)


@dataclass(frozen=True)
class OldClip:
    """Of another report: what is compared."""

    id: str
    scores: dict[str, float]


@dataclass(frozen=True)
class OldBench:
    digest: str


@dataclass(frozen=True)
class OldReport:
    results: str
    bench: OldBench
    metrics: dict[str, dict[str, Any]]
    clips: list[OldClip]


def read_report(folder: str | Path) -> OldReport:
    """Raises InputError: the folder has no report.json, or another file of that name."""
    return read_json(Path(folder) / JSON, OldReport, limit=LARGEST)


def told(figure: Figure) -> str:
    """`3.412 (3.1 to 3.7)`"""
    value, low, high = (f"{x:.4g}" if math.isfinite(x) else "none" for x in (figure.value, figure.low, figure.high))
    return value if "none" in (value, low) else f"{value} ({low} to {high})"


def reasons_line(reasons: Mapping[str, NotScored]) -> str:
    """How many clips have each reason, the most frequent first."""
    counts = Counter(reason.reason for reason in reasons.values())
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common())


def finite(figures: Mapping[str, Any]) -> dict[str, Any]:
    """With None in the place of numbers that are none."""
    return {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in figures.items()}


def _program() -> dict[str, str]:
    from actavatar_jax import __version__

    return {"actavatar_jax": __version__, "python": platform.python_version()} | {
        name: version(name) for name in PROGRAMS
    }
