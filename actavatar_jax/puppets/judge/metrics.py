"""The judge among the metrics of a bench: of puppets, in the place of SyncNet and of a multimodal model."""

import dataclasses

import numpy as np
from jaxtyping import Float

from actavatar_jax import functional
from actavatar_jax.errors import Skip
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.metric import ClipMetric, Column, Metric, Row
from actavatar_jax.evaluation.measures import (
    accuracy,
    boundary_error,
    hit,
    lip_correlation,
    satisfied,
    temporal_correctness,
    temporal_iou,
)
from actavatar_jax.evaluation.scores import Judgement
from actavatar_jax.media import SAMPLES_PER_FRAME, load_video
from actavatar_jax.puppets.judge.network import Judge
from actavatar_jax.puppets.world.script import read_prompt

COLUMNS = (
    Column("judge_hit", "H@S", "higher"),
    Column("judge_aa", "AA, action accuracy 0-10", "higher"),
    Column("judge_tc", "TC, temporal correctness 0-10", "higher"),
    Column("judge_iou", "temporal IoU of what the judge saw", "higher"),
    Column("judge_satisfied", "actions inside their window", "higher"),
    Column("judge_boundary", "boundary error, s", "lower"),
)
LIPS = (
    Column("sync_c", "correlation of mouth and loudness", "higher"),
    Column("sync_offset", "sound ahead, frames", mean=False),
)


def puppet_metrics(judge: Judge) -> tuple[Metric, Metric]:
    """`sync` and `judge` of films of puppets, for `evaluate_videos(stand_ins=...)`.

    What is seen is read off the pixels alone, and what is heard is how loud each frame is. AQ and HC are missing: this
    judge knows nothing of quality.
    """
    about = {"backbone": f"judge of puppets, parameters {functional.digest(judge.params)}"}

    def measure_lips(clip: BenchClip) -> Row:
        video = load_video(clip.path)
        if video.audio is None or not np.any(video.audio):
            raise Skip("no sound", "nothing is to be heard")
        found = lip_correlation(judge(video.frames).opening, loudness(video.audio))
        return {"sync_c": found.best, "sync_offset": found.lag}

    def measure_actions(clip: BenchClip) -> Row:
        if not clip.item.phases:
            raise Skip("no phases", "the prompt has no window to judge")
        seen = judge(load_video(clip.path).frames)
        cues = read_prompt(clip.item.prompt, len(seen.actions))
        return _means([_row(seen, seen.names.index(cue.action), (cue.start, cue.end)) for cue in cues])

    return (
        ClipMetric("sync", LIPS, measure_lips, about, lambda clip: [1, about]),
        ClipMetric("judge", COLUMNS, measure_actions, about, lambda clip: [1, about, _asked(clip)]),
    )


def loudness(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " F"]:
    """Root of the mean square of the sound of each frame."""
    return np.sqrt(np.square(samples).reshape(-1, SAMPLES_PER_FRAME).mean(axis=1))


def _row(seen: Judgement, action: int, window: tuple[float, float]) -> Row:
    """Of one phase; scores as those of a multimodal model go from 0 to 10."""
    curve = seen.actions[:, action]
    return {
        "judge_hit": float(hit(curve, window)),
        "judge_aa": 10.0 * accuracy(seen.actions, action, window),
        "judge_tc": temporal_correctness(curve, window),
        "judge_iou": temporal_iou(curve, window),
        "judge_satisfied": float(satisfied(curve, window)),
        "judge_boundary": boundary_error(curve, window),
    }


def _means(rows: list[Row]) -> Row:
    """Over the phases that have the value; None where none has it."""
    means: Row = {}
    for name in rows[0]:
        values = [row[name] for row in rows if np.isfinite(row[name])]
        means[name] = float(np.mean(values)) if values else None
    return means


def _asked(clip: BenchClip) -> list:
    return [dataclasses.astuple(phase) for phase in clip.item.phases]
