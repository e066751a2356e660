"""What a measure has to say of spoilt videos beside the whole ones, and whether it did."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actavatar_jax.evaluation.bench.metric import Column, with_interval
from actavatar_jax.evaluation.bench.report import BenchReport, MetricReport, told
from actavatar_jax.evaluation.report import Figure, mean_figure

SAME = 0.5  # points of ten, within which a score of the judge is the same


@dataclass(frozen=True)
class Expectation:
    """Of a column: `falls` and `rises` are told clip by clip, with an interval that leaves 0 out; `stays` is within
    `amount` on average, `moves` by `amount` in the median clip; `at most` is of the spoilt videos alone; `not scored`
    is that each has a reason instead."""

    column: str
    kind: Literal["falls", "rises", "stays", "moves", "at most", "not scored"]
    amount: float | int = 0

    @property
    def words(self) -> str:
        if self.kind == "stays":
            return f"stays within {self.amount:g}"
        return self.kind + {"moves": f" by {self.amount:+g}", "at most": f" {self.amount:g}"}.get(self.kind, "")


@dataclass(frozen=True)
class Outcome:
    """measure: the column's title. found: what was measured, in words. held: whether it is as expected; None: it could
    not be measured."""

    control: str
    column: str
    measure: str
    expected: str
    found: str
    held: bool | None

    def line(self) -> str:
        verdict = {True: "as it should", False: "NOT AS IT SHOULD", None: "not measured"}[self.held]
        return f"{self.control:12} {self.measure:36} {self.expected:18} {self.found:32} {verdict}"


def judge_expectation(control: str, expectation: Expectation, whole: BenchReport, spoilt: BenchReport) -> Outcome:
    """Compares the two reports over the clips that both have."""
    metric, column = _find(whole, expectation.column)
    other, _ = _find(spoilt, expectation.column)

    def outcome(found: str, held: bool | None) -> Outcome:
        return Outcome(control, expectation.column, column.title, expectation.words, found, held)

    if metric.scores is None or other.scores is None:
        return outcome(metric.reason or other.reason, None)
    both = [clip.item.id for clip in spoilt.found.clips if column.name in whole.row(clip.item.id)]
    if expectation.kind == "not scored":
        scored = [clip for clip in both if column.name in spoilt.row(clip)]
        return outcome(f"{len(scored)} of {len(both)} scored", not scored if both else None)
    if expectation.kind == "at most":
        figure = other.scores.figures[column.name]
        return outcome(told(figure), figure.value <= expectation.amount if math.isfinite(figure.value) else None)
    differences = [
        float(spoilt.row(clip)[column.name] - whole.row(clip)[column.name])
        for clip in both
        if column.name in spoilt.row(clip)
    ]
    if differences:
        figure = with_interval(mean_figure(differences))
    elif any(metric.scores.rows.values()):
        return outcome("no clip has both", None)
    else:  # of sets: there are no pairs
        value = other.scores.figures[column.name].value - metric.scores.figures[column.name].value
        figure = Figure(value, math.nan, math.nan, 0)
    if not math.isfinite(figure.value):
        return outcome("none", None)
    if expectation.kind == "moves":
        middle = float(np.median(differences))
        return outcome(f"{middle:+g}", middle == expectation.amount)
    low, high = (figure.low, figure.high) if math.isfinite(figure.low) else (figure.value, figure.value)
    held = {"falls": high < 0, "rises": low > 0, "stays": abs(figure.value) <= expectation.amount}[expectation.kind]
    return outcome(told(figure), held)


def _find(report: BenchReport, name: str) -> tuple[MetricReport, Column]:
    """The metric of a column, and the column; of a metric that is not available one that has only a name."""
    for metric in report.metrics:
        for column in metric.columns:
            if column.name == name:
                return metric, column
    metric = next(metric for metric in report.metrics if metric.name == name.partition("_")[0])
    return metric, Column(name, name)
