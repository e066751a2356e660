"""Measuring generated clips: scores of what a judge saw against what was asked for."""

from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips

__all__ = ["Judgement", "Report", "Truth", "score_clips"]
