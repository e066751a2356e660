"""The judge among the metrics: runs to a row for each clip, and to figures that say how far runs agree.

R runs, N clips.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from actavatar_jax.chat import Usage, open_client
from actavatar_jax.evaluation.bench.answers import Estimate
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.items import BenchPhase
from actavatar_jax.evaluation.bench.judge import asking
from actavatar_jax.evaluation.bench.judge.asking import JudgeSettings, Run
from actavatar_jax.evaluation.bench.judge.questions import PROMPT_VERSION, TOLERANCE
from actavatar_jax.evaluation.bench.judge.verdicts import PhaseVerdict
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import Column, Row, Scores, with_interval
from actavatar_jax.evaluation.report import Figure, bootstrap
from actavatar_jax.synchrony import NotScored

COMPLETE = 0.98  # share of the calls with a usable answer, below which a result is incomplete
RULE = (
    f"H@S is the share of phases whose action is seen in the window, give or take {TOLERANCE:g} s; AA is at most 2 "
    "where it is not; AA, TC and AQ are means over phases, then clips, the others over phases alone; all then over runs"
)


Value = Callable[[PhaseVerdict, BenchPhase], float | None]

VALUES: dict[str, Value] = {
    "judge_hit": lambda verdict, phase: verdict.ao,
    "judge_aa": lambda verdict, phase: verdict.aa,
    "judge_tc": lambda verdict, phase: verdict.tc,
    "judge_aq": lambda verdict, phase: verdict.aq,
    "judge_hc": lambda verdict, phase: verdict.hc,
    "judge_iou": PhaseVerdict.iou,
    "judge_satisfied": PhaseVerdict.satisfied,
    "judge_boundary": PhaseVerdict.boundary_error,
}
BY_PHASE = ("judge_hit", "judge_hc", "judge_iou", "judge_satisfied", "judge_boundary")  # others: every clip alike
COLUMNS = (
    Column("judge_hit", "H@S", "higher"),
    Column("judge_majority", "H@S by majority of runs", "higher"),
    Column("judge_aa", "AA, action accuracy 0-10", "higher"),
    Column("judge_tc", "TC, temporal correctness 0-10", "higher"),
    Column("judge_aq", "AQ, action quality 0-10", "higher"),
    Column("judge_hc", "HC, hand clarity 0-10", "higher"),
    Column("judge_iou", "temporal IoU of what the judge saw", "higher"),
    Column("judge_satisfied", "actions inside their window", "higher"),
    Column("judge_boundary", "boundary error, s", "lower"),
)


@dataclass(frozen=True)
class JudgeMetric:
    """See `Metric`."""

    settings: JudgeSettings
    name: str = "judge"
    columns: tuple[Column, ...] = COLUMNS

    def estimate(self, clips: Sequence[BenchClip], kept: Kept) -> Estimate:
        return asking.estimate(_with_phases(clips), self.settings, kept)

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores:
        judged = _with_phases(clips)
        for _ in range(len(clips) - len(judged)):
            step()
        with open_client(self.settings.server) as client:
            runs = list(asking.ask_judge(judged, self.settings, client, kept, step))
        return _scores(clips, runs, self.settings)


def _with_phases(clips: Sequence[BenchClip]) -> list[BenchClip]:
    return [clip for clip in clips if clip.item.phases]


def _scores(clips: Sequence[BenchClip], runs: Sequence[Run], settings: JudgeSettings) -> Scores:
    by_clip = {
        clip.item.id: sorted((r for r in runs if r.clip == clip.item.id), key=lambda r: r.number) for clip in clips
    }
    rows, reasons, whole = {}, {}, []
    for clip in clips:
        own = by_clip[clip.item.id]
        if not clip.item.phases:
            reasons[clip.item.id] = NotScored("no phases", "the prompt has no window to judge")
        elif not any(run.verdicts for run in own):
            reasons[clip.item.id] = NotScored("no usable answer", f"in {len(own)} runs, the last: {own[-1].reason}")
        else:
            rows[clip.item.id] = _row(clip, own)
            whole.append((clip, own))
    figures = {name: _figure(name, whole, settings.runs) for name in VALUES}
    majority = [(rows[clip.item.id]["judge_majority"], len(clip.item.phases)) for clip, _ in whole]
    figures["judge_majority"] = _weighted(majority)
    about = {
        "backbone": f"{settings.server.model}, {settings.runs} runs at temperature {settings.server.temperature:g}",
        "prompt_version": PROMPT_VERSION,
        "rule": RULE,
    }
    return Scores(rows, reasons, figures, about, _notes(runs, whole, settings))


def _row(clip: BenchClip, runs: Sequence[Run]) -> Row:
    """Means over the clip's phases, then over its runs."""
    row: Row = {}
    for name in VALUES:
        means = [float(np.mean(values)) for run in runs if (values := _values(name, clip, run))]
        row[name] = float(np.mean(means)) if means else None
    hits = np.array([[verdict.ao for verdict in run.verdicts] for run in runs if run.verdicts])
    row["judge_majority"] = float((hits.mean(axis=0) > 0.5).mean())
    return row


def _values(name: str, clip: BenchClip, run: Run) -> list[float]:
    """Of the phases that have the value in a run."""
    pairs = zip(run.verdicts or (), clip.item.phases, strict=False)
    return [value for verdict, phase in pairs if (value := VALUES[name](verdict, phase)) is not None]


def _figure(name: str, clips: Sequence[tuple[BenchClip, Sequence[Run]]], runs: int) -> Figure:
    """Mean over phases and clips of each run, then over runs; the interval draws clips anew."""
    values, weights = _table(name, clips, runs)

    def mean(rows: Int[np.ndarray, "D N"]) -> Float[np.ndarray, " D"]:
        with np.errstate(invalid="ignore", divide="ignore"):
            of_runs = (values * weights)[:, rows].sum(axis=-1) / weights[:, rows].sum(axis=-1)
        there = np.isfinite(of_runs)
        sums = np.where(there, of_runs, 0).sum(axis=0)
        return np.where(there.any(axis=0), sums / np.maximum(there.sum(axis=0), 1), np.nan)

    return with_interval(bootstrap(mean, len(clips), int((weights.sum(axis=0) > 0).sum())))


def _table(
    name: str, clips: Sequence[tuple[BenchClip, Sequence[Run]]], runs: int
) -> tuple[Float[np.ndarray, "R N"], Float[np.ndarray, "R N"]]:
    """Means of clips by run, and their weights: the number of phases that have the value, or 1; 0 where none has."""
    values, weights = np.zeros((runs, len(clips))), np.zeros((runs, len(clips)))
    for column, (clip, own) in enumerate(clips):
        for run in own:
            if found := _values(name, clip, run):
                values[run.number, column] = np.mean(found)
                weights[run.number, column] = len(found) if name in BY_PHASE else 1
    return values, weights


def _weighted(pairs: Sequence[tuple[float, int]]) -> Figure:
    values, weights = (np.array(column, float) for column in zip(*pairs, strict=True)) if pairs else (np.zeros(0),) * 2

    def mean(rows: Int[np.ndarray, "D N"]) -> Float[np.ndarray, " D"]:
        return (values * weights)[rows].sum(axis=1) / weights[rows].sum(axis=1)

    return with_interval(bootstrap(mean, len(pairs), len(pairs)))


def _notes(
    runs: Sequence[Run], clips: Sequence[tuple[BenchClip, Sequence[Run]]], settings: JudgeSettings
) -> Mapping[str, Any]:
    valid, usages = sum(run.verdicts is not None for run in runs), [usage for run in runs for usage in run.usage]
    usage = Usage(sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages))
    coverage = valid / len(runs) if runs else 0.0
    deviation = {name: _deviation(*_table(name, clips, settings.runs)) for name in VALUES}
    remarks = [
        f"{valid} of {len(runs)} calls have a usable answer" + ": the result is incomplete" * (coverage < COMPLETE),
        f"{usage.prompt_tokens:,} tokens read and {usage.completion_tokens:,} written",
    ]
    if cost := settings.cost(usage):
        remarks[-1] += f", {cost:,.2f} at the prices given"
    spread = [f"{c.title.split(',')[0]} {deviation[c.name]:.3g}" for c in COLUMNS if deviation.get(c.name) is not None]
    if spread:
        remarks.append(f"standard deviation over runs: {'; '.join(spread)}")
    return {
        "calls": {"planned": len(runs), "valid": valid, "coverage": coverage, "complete": coverage >= COMPLETE},
        "answers_asked_now": sum(run.asked for run in runs),
        "usage": vars(usage),
        "deviation_over_runs": deviation,
        "missing_runs": [
            {"id": run.clip, "run": run.number, "reason": run.reason} for run in runs if run.verdicts is None
        ],
        "remarks": remarks,
    }


def _deviation(values: Float[np.ndarray, "R N"], weights: Float[np.ndarray, "R N"]) -> float | None:
    """Of the runs' means; None of fewer than two."""
    there = weights.sum(axis=1) > 0
    if there.sum() < 2:
        return None
    means = (values * weights)[there].sum(axis=1) / weights[there].sum(axis=1)
    return float(means.std(ddof=1))
