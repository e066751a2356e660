"""What the runs of an ablation showed: means and intervals over seeds, and the rule's answers, as Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from scipy import stats

from actavatar_jax.puppets.ablation.planning import Run, rows_of, total_steps
from actavatar_jax.puppets.ablation.rows import GROUPS, LEAST_GAP, QUESTION, RULE
from actavatar_jax.storage import read_json


@dataclass(frozen=True)
class Spread:
    """Mean over runs and its 95 % interval by Student's t; NaN with fewer than two runs."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.mean):
            return "-"
        interval = "" if np.isnan(self.low) else f" ({_short(self.low)} to {_short(self.high)})"
        return _short(self.mean) + interval


def spread(values: Any) -> Spread:
    """Of one number per seed."""
    values = np.array(values, float)
    if len(values) < 2:
        return Spread(float(values.mean()) if len(values) else np.nan, np.nan, np.nan)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return Spread(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


@dataclass(frozen=True)
class Scores:
    """The reports of a row that are there, by seed."""

    reports: Mapping[int, Mapping[str, Any]]

    @classmethod
    def read(cls, config: ConfigDict, workdir: Path, name: str) -> "Scores":
        runs = [one for seed in range(1, config.seeds + 1) if (one := Run(name, seed)).done(workdir)]
        return cls({one.seed: read_json(one.folder(workdir) / "scores.json", finite=False) for one in runs})

    def values(self, figure: str) -> dict[int, float]:
        """By seed; empty where no clip has the figure."""
        there = {s: r["figures"][figure]["value"] for s, r in self.reports.items() if figure in r["figures"]}
        return {seed: np.nan if value is None else value for seed, value in there.items()}

    def spread(self, figure: str) -> Spread:
        return spread(list(self.values(figure).values()))

    def verdict(self) -> str:
        """The rule's answer; none without an interval, and none on clips that no single action leaves unordered."""
        gap, centre = self.spread("iou_gap"), self.spread("centre")
        if len(self.reports) < 2 or not self.values("centre"):
            return "-"
        return "learned" if gap.mean >= LEAST_GAP and gap.low > 0 and centre.low > 0 else "not learned"


COLUMNS = {  # heading -> figure, and what it is with wrong windows or speech
    "Hit@Segment": ("hit", "hit_shuffled"),
    "accuracy": ("accuracy", "accuracy_shuffled"),
    "IoU": ("iou", ""),
    "shuffled IoU": ("iou_shuffled", ""),
    "IoU gap": ("iou_gap", ""),
    "inside": ("satisfied", "satisfied_shuffled"),
    "boundary error, s": ("boundary", "boundary_shuffled"),
    "centre correlation": ("centre", "centre_shuffled"),
    "lip correlation": ("lip", "lip_shuffled"),
}


def table(config: ConfigDict, workdir: Path) -> str:
    """Markdown: questions, rule, answers, and the rows of every group, from the runs that are there."""
    world = config.world
    parts = [
        "# Ablation of the puppet world",
        f"Asked before any run: {QUESTION}\n\nRule, fixed before any run: {RULE}",
        f"Cells are means with 95 % intervals (Student's t over seeds) | means against shuffled windows or, for lips, "
        f"other clips' speech. A seed sets the fresh adapter and all order and noise of training and sampling; the "
        f"backbone was trained once (and once more without frame time), and the test clips are the same for all rows, "
        f"so the intervals hold neither the choice of a backbone nor that of clips. {world.side} px, {world.frames} "
        f"frames, windows on a grid of {world.grid} s. Steps count from the backbone on.",
        "\n".join(["## Answers", "", *answers(config, workdir)]),
    ]
    head = ["row", *COLUMNS, "timing", "seeds", "steps", "items"]
    for group in config.groups:
        lines = [f"## {group}", "", _line(head), _line(["---"] * len(head))]
        for label, name in rows_of(config, group).items():
            lines.append(_line([label, *_cells(config, workdir, name)]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def answers(config: ConfigDict, workdir: Path) -> list[str]:
    """The rule applied to each row of the helps that has runs, with what its gap loses to that of all three."""
    helped = Scores.read(config, workdir, "text")
    lines = []
    for label, name in GROUPS["helps"].items():
        own = Scores.read(config, workdir, name)
        if not own.reports:
            continue
        gaps, best = own.values("iou_gap"), helped.values("iou_gap")
        both = sorted(gaps.keys() & best.keys())
        lost = f", costs {spread([best[seed] - gaps[seed] for seed in both])}" if name != "text" and both else ""
        verdict = {"-": "undecided (two seeds or more decide)"}.get(own.verdict(), own.verdict())
        lines.append(
            f"- {label}: timing {verdict}; IoU gap {own.spread('iou_gap')}{lost}; "
            f"centre correlation {own.spread('centre')}."
        )
    return lines or ["- no run yet"]


def _cells(config: ConfigDict, workdir: Path, name: str) -> list[str]:
    scores, steps = Scores.read(config, workdir, name), total_steps(config, Run(name, 1))
    cells = []
    for figure, wrong in COLUMNS.values():
        against = f" \\| {_short(scores.spread(wrong).mean)}" if wrong and scores.values(wrong) else ""
        cells.append(f"{scores.spread(figure)}{against}")
    items = {str(report["clips"]) for report in scores.reports.values()}
    return [*cells, scores.verdict(), str(len(scores.reports)), str(steps), ", ".join(items) or "-"]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # adding zero turns -0.0 into 0.0
