"""Measuring generated clips: a judge that sees only pixels, and scores of what it saw against what was asked for."""

from actavatar_jax.evaluation.puppet_judge import SHIPPED_JUDGE, Judge, JudgeConfig, load_judge, save_judge
from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips

__all__ = [
    "SHIPPED_JUDGE",
    "Judge",
    "JudgeConfig",
    "Judgement",
    "Report",
    "Truth",
    "load_judge",
    "save_judge",
    "score_clips",
]
