"""The log of a training that goes on over many sittings: what it reached after how much work, and a plot of that."""

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.report import Report
from actavatar_jax.puppets.pictures.page import COLOURS, GREY, Page, Plot, draw_legend, ticks
from actavatar_jax.storage import read_json_lines

Row = Mapping[str, Any]

FIGURES = {  # of a report, by their names in a row
    "psnr_whole": "psnr_whole", "psnr_hands": "psnr_hands", "psnr_mouth": "psnr_mouth", "psnr_still": "psnr_still",
    "hit": "hit", "iou": "iou", "iou_gap": "iou_gap", "lips": "lip", "drift": "drift",
}  # fmt: skip
PANELS = {
    "PSNR without the first frame, dB": {"psnr_whole": "whole", "psnr_hands": "raised hands", "psnr_mouth": "mouth"},
    "as a judge sees it, 0 to 1": {"hit": "Hit@Segment", "iou": "temporal IoU", "lips": "lip correlation"},
}


class Progress:
    """Appends rows to a file of JSON lines; what earlier sittings wrote there stays, and their work is counted on.

    The work is CPU time of the process, of all its threads, from its start: what it does before its first row counts,
    and what a killed sitting did after its last row does not.
    """

    def __init__(self, path: str | Path):
        """InputError for a file with anything but such rows."""
        self._path = Path(path).absolute()
        read_rows(self._path)

    def add(self, stage: str, step: int, **figures: float | None) -> dict[str, Any]:
        """One more row: the figures, null where they are not finite, `cpu_hours` since the file was begun, and
        `steps_per_s` since the row before, all that was done in between included (null in a stage's first row).
        """
        rows, last = read_rows(self._path), _last.get(self._path, _Moment(0.0))
        now = _Moment(time.process_time(), time.monotonic(), stage, step)
        row = {
            "stage": stage,
            "step": step,
            "cpu_hours": (rows[-1]["cpu_hours"] if rows else 0.0) + (now.cpu - last.cpu) / 3600,
            "steps_per_s": (step - last.step) / (now.wall - last.wall) if last.stage == stage else None,
            **{name: v if v is not None and math.isfinite(v) else None for name, v in figures.items()},
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        _last[self._path] = now
        return row


class _Moment(NamedTuple):
    """Where this process was when it wrote a row: seconds on both clocks, stage and step."""

    cpu: float
    wall: float = 0.0
    stage: str | None = None
    step: int = 0


_last: dict[Path, _Moment] = {}  # of every file's last row that this process wrote


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a `Progress` file, none where there is no file; InputError where a line is no row."""
    rows, path = [], Path(path)
    for number, row in read_json_lines(path, finite=False) if path.exists() else ():
        try:
            rows.append({**row, "stage": str(row["stage"]), "cpu_hours": float(row["cpu_hours"])})
        except (ValueError, TypeError, KeyError) as error:  # also of an InputError in the place of a row
            wanted = "accepted are JSON objects with at least stage and cpu_hours"
            raise InputError(f"Line {number} of {path} is no row of a training's progress; {wanted}.") from error
    return rows


def figures_of(report: Report) -> dict[str, float]:
    """What a row says of a report."""
    return {name: report[figure].value for name, figure in FIGURES.items() if figure in report.figures}


def draw_curves(rows: Sequence[Row], path: Path, panels: Mapping[str, Mapping[str, str]] = PANELS) -> None:
    """Figures against CPU-hours, with the stages; InputError where there is nothing to draw.

    `panels` are the labels of figures by their names, by the title of a panel: PSNR to the left, to the right what is
    about 0 to 1. Curves end with a stage: the next one may measure something else.
    """
    if not rows:
        raise InputError(f"There are no rows to draw as {path}; accepted is one row or more.")
    width, height, margin, top = 470, 280, 64, 92
    page = Page(2 * (width + margin) + 30, top + height + 120)
    page.text(margin, 12, "Training", 17)
    stages = _stages(rows)
    page.text(margin, 34, ", ".join(f"{k} {name}" for k, (name, _) in enumerate(stages, start=1)), 13, GREY)
    hours = ticks(0, max(row["cpu_hours"] for row in rows))
    for panel, (title, names) in enumerate(panels.items()):
        curves = {name: _curves(rows, name) for name in names}
        values = [value for parts in curves.values() for points in parts for _, value in points]
        limits = (min([0, *values]), max([1, *values])) if panel else (min(values, default=0), max(values, default=1))
        heights = ticks(*limits)
        left = margin + panel * (width + margin)
        plot = Plot(page, left, top, (width, height), (hours[0], hours[-1]), (heights[0], heights[-1]))
        _draw_stages(plot, stages)
        plot.scales(hours, heights, "CPU-hours")
        page.text(left + width / 2, top - 38, title, 14, anchor="ma")
        entries = []
        for colour, (name, label) in zip(COLOURS, names.items(), strict=False):
            for points in curves[name]:
                plot.curve(points, colour)
            if curves[name]:
                entries.append((colour, f"{label}, last {curves[name][-1][-1][1]:.3g}"))
        draw_legend(page, left, top + height + 56, entries)
    page.save(path)


def _stages(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """Every stage with the CPU-hours at its begin."""
    names = [row["stage"] for row in rows]
    first = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    return [(names[i], rows[i - 1]["cpu_hours"] if i else 0.0) for i in first]


def _curves(rows: Sequence[Row], name: str) -> list[list[tuple[float, float]]]:
    """The points of a figure, stage by stage."""
    known = [row for row in rows if row.get(name) is not None]
    stages = itertools.groupby(known, lambda row: row["stage"])
    return [[(row["cpu_hours"], row[name]) for row in stage] for _, stage in stages]


def _draw_stages(plot: Plot, stages: Sequence[tuple[str, float]]) -> None:
    """A numbered line where a stage begins."""
    for number, (_, start) in enumerate(stages, start=1):
        x = plot.x(start)
        plot.page.line([(x, plot.top), (x, plot.floor)], GREY)
        plot.page.text(x, plot.top - 5, str(number), 13, GREY, "md")
