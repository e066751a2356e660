"""How a report differs from another one of the same bench: clip by clip where clips have numbers."""

import math
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.metric import Column, with_interval
from actavatar_jax.evaluation.bench.report import BenchReport, MetricReport, OldReport, finite
from actavatar_jax.evaluation.report import Figure, mean_figure
from actavatar_jax.storage import plain

INSTRUMENTS = ("backbone", "resize", "weights", "samples", "videos")


def compare_reports(report: BenchReport, other: OldReport) -> dict[str, Any]:
    """Differences, this report less the other one, over the clips that both have; or why there is none.

    Raises:
      InputError: the other report is of another bench.
    """
    if report.bench_digest != other.bench.digest:
        raise InputError("The report to compare with is of another bench; accepted is one of the same file.")
    rows = {clip.id: clip.scores for clip in other.clips}
    figures = {}
    for metric in report.available:
        theirs = other.metrics.get(metric.name, {"available": False})
        for column, _ in metric.means:
            figures[column.name] = {"title": column.title, "better": column.better}
            figures[column.name] |= _difference(report, metric, column, theirs, rows)
    return {"results": other.results, "figures": figures}


def _difference(
    report: BenchReport, metric: MetricReport, column: Column, theirs: dict[str, Any], rows: dict[str, dict[str, float]]
) -> dict[str, Any]:
    if not theirs.get("available"):
        return {"reason": "the other report does not have it"}
    about = plain(dict(metric.scores.about))
    if odd := [name for name in INSTRUMENTS if _own(about, name, column) != _own(theirs, name, column)]:
        return {"reason": f"measured otherwise there: {', '.join(odd)}"}
    ours = {item.id: report.row(item.id) for item in report.items}
    pairs = [
        (ours[clip][column.name], rows[clip][column.name])
        for clip in ours
        if column.name in ours[clip] and column.name in rows.get(clip, {})
    ]
    if pairs:
        return finite(vars(with_interval(mean_figure([float(one - two) for one, two in pairs]))))
    if any(metric.scores.rows.values()):
        return {"reason": "no clip has it in both"}
    value, before = metric.scores.figures[column.name].value, _value(theirs, column.name)
    return finite(vars(Figure(value - before, math.nan, math.nan, 0)))  # of sets: there are no pairs


def _own(about: dict[str, Any], name: str, column: Column) -> Any:
    """What an instrument is for a column, where columns of one metric have their own."""
    value = about.get(name)
    return value.get(column.name, value) if isinstance(value, dict) else value


def _value(theirs: dict[str, Any], name: str) -> float:
    value = theirs.get("figures", {}).get(name, {}).get("value")
    return float(value) if isinstance(value, int | float) else math.nan
