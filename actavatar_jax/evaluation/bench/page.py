"""The page of a report, which needs no other file: figures, what has no score, and clips, the worst ones first."""

from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.charts import draw_timeline
from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.evaluation.bench.metric import Column
from actavatar_jax.evaluation.bench.report import BenchReport, told
from actavatar_jax.evaluation.bench.templates import write_page

PLANNED_TO_BE_WHOLE = 0.98  # coverage below which a metric is marked


def render(report: BenchReport, path: Path) -> None:
    write_page(Path(__file__).with_name("page.html"), _contents(report), path)


def worst_first(report: BenchReport) -> list[BenchItem]:
    """The items that could be measured, by the mean of their ranks in all columns of which one direction is better.

    Ranks go from 0, the best of a column, to 1; a clip is ranked where it has a number, and is last where it has none.
    """
    ranks: dict[str, list[float]] = {}
    for column in _columns(report):
        values = {item.id: report.row(item.id).get(column.name) for item in report.items}
        there = [clip for clip, value in values.items() if value is not None]
        if not column.better or not there:
            continue
        numbers = np.array([values[clip] for clip in there], float)
        badness = -numbers if column.better == "higher" else numbers
        better, equal = ((compare(badness[:, None], badness)).sum(axis=1) for compare in (np.greater, np.equal))
        for clip, rank in zip(there, (better + (equal - 1) / 2) / max(len(there) - 1, 1), strict=True):
            ranks.setdefault(clip, []).append(float(rank))
    mean = {clip: float(np.mean(own)) for clip, own in ranks.items()}
    return sorted((clip.item for clip in report.found.clips), key=lambda item: -mean.get(item.id, -1.0))


def _contents(report: BenchReport) -> dict[str, Any]:
    planned = len(report.items)
    return {
        "title": f"{report.results} against {report.bench}",
        "tiles": [
            ("clips asked for", planned),
            ("could be measured", len(report.found.clips)),
            ("extra", len(report.found.extra)),
        ],
        "figures": [
            _figure_row(metric, column, figure, planned)
            for metric in report.available
            for column, figure in metric.means
        ],
        "remarks": [(metric.name, remark) for metric in report.available for remark in metric.remarks(planned)],
        "unavailable": [(metric.name, metric.reason) for metric in report.metrics if metric.scores is None],
        "comparison": report.comparison and _comparison(report.comparison),
        "reasons": [
            (item.id, name, reason.reason, reason.detail)
            for item in report.items
            for name, reason in report.reasons(item.id).items()
        ],
        "extra": report.found.extra,
        "columns": _columns(report),
        "clips": [_clip_row(report, item) for item in worst_first(report)],
        "program": ", ".join(f"{name} {number}" for name, number in report.program.items()),
    }


def _figure_row(metric: Any, column: Column, figure: Any, planned: int) -> dict[str, Any]:
    coverage = len(metric.scores.rows) / planned
    return {
        "title": column.title,
        "better": column.better,
        "value": told(figure),
        "clips": figure.clips,
        "coverage": f"{coverage:.0%}",
        "whole": coverage >= PLANNED_TO_BE_WHOLE,
        "about": ", ".join(
            str(metric.scores.about[name]) for name in ("backbone", "resize") if name in metric.scores.about
        ),
    }


def _comparison(comparison: dict[str, Any]) -> dict[str, Any]:
    rows, reasons = [], []
    for figure in comparison["figures"].values():
        if "reason" in figure:
            reasons.append((figure["title"], figure["better"], figure["reason"]))
            continue
        value, low, high = (figure[name] for name in ("value", "low", "high"))
        interval = "none" if low is None else f"{low:+.4g} to {high:+.4g}"
        rows.append(
            (figure["title"], figure["better"], "none" if value is None else f"{value:+.4g}", interval, figure["clips"])
        )
    return {"results": comparison["results"], "rows": rows, "reasons": reasons}


def _clip_row(report: BenchReport, item: BenchItem) -> dict[str, Any]:
    [clip] = [clip for clip in report.found.clips if clip.item.id == item.id]
    row = report.row(item.id)
    phases = [(phase.start, phase.end, phase.action) for phase in item.phases]
    profile = [m.scores.rows.get(item.id, {}).get("profile") for m in report.available if m.name == "energy"]
    return {
        "id": item.id,
        "pictures": clip.thumbnails,
        "base": item.base,
        "actions": [f"{phase.stamp} {phase.action}" for phase in item.prompt.phases],
        "timeline": draw_timeline(phases, item.duration, next(filter(None, profile), ())),
        "numbers": [f"{row[column.name]:.4g}" if column.name in row else "-" for column in _columns(report)],
    }


def _columns(report: BenchReport) -> list[Column]:
    """Those of which at least one clip has a number."""
    there = {name for item in report.items for name in report.row(item.id)}
    return [column for metric in report.available for column in metric.columns if column.name in there]
