"""What a metric of a folder of videos is: columns of the table, and clips to rows, reasons and figures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.report import Figure, mean_figure
from actavatar_jax.synchrony import NotScored

Row = dict[str, Any]  # column: number or None; other names hold what is drawn


@dataclass(frozen=True)
class Column:
    """A number. better: which one is. mean: whether its mean over clips says anything."""

    name: str
    title: str
    better: Literal["higher", "lower", ""] = ""
    mean: bool = True


@dataclass(frozen=True)
class Scores:
    """Of every clip a row or a reason.

    about: what figures must have in common to be compared; notes: the rest. scored_at: how many of the clips other
    rules would score, the rule in words.
    """

    rows: Mapping[str, Row]
    reasons: Mapping[str, NotScored]
    figures: Mapping[str, Figure]
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    scored_at: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Metric(Protocol):
    """`score` calls `step` once for each clip. InputError: the metric is not available, with the reason."""

    name: str
    columns: tuple[Column, ...]

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores: ...


@dataclass(frozen=True)
class ClipMetric:
    """A metric that looks at one clip after the other.

    measure: a clip to its row; what it raises as Skip is the clip's reason, and so is an InputError, as `refusal`.
    key: what the row depends on beside the clip; a row is kept as long as both are the same. scored_at: see `Scores`.
    """

    name: str
    columns: tuple[Column, ...]
    measure: Callable[[BenchClip], Row]
    about: Mapping[str, Any]
    key: Callable[[BenchClip], Sequence[Any]]
    refusal: str = "unreadable"
    scored_at: Callable[[Sequence[Row]], Mapping[str, int]] = lambda rows: {}

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores:
        rows, reasons = {}, {}
        for clip in clips:
            try:
                rows[clip.item.id] = kept.find(
                    lambda clip=clip: self._row(clip), self.name, clip.digest, *self.key(clip)
                )
            except Skip as skip:
                reasons[clip.item.id] = NotScored(skip.reason, skip.detail)
            step()
        figures = {column.name: mean_of(column.name, rows) for column in self.columns if column.mean}
        return Scores(rows, reasons, figures, self.about, scored_at=self.scored_at(list(rows.values())))

    def _row(self, clip: BenchClip) -> Row:
        try:
            return self.measure(clip)
        except InputError as error:
            raise Skip(self.refusal, str(error)) from error


def mean_of(column: str, rows: Mapping[str, Row]) -> Figure:
    """Over the clips that have a row, with its interval."""
    values = [row[column] for row in rows.values()]
    return with_interval(mean_figure(values)) if values else Figure(math.nan, math.nan, math.nan, 0)


def with_interval(figure: Figure) -> Figure:
    """The figure; of fewer than two clips without the interval, which would say that it is exact."""
    return figure if figure.clips > 1 else replace(figure, low=math.nan, high=math.nan)
