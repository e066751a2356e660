"""Measuring generated clips: scores of what a judge saw against what was asked for, and lip synchrony by SyncNet."""

from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips
from actavatar_jax.evaluation.synchrony import SynchronySummary, summarise_synchrony
from actavatar_jax.synchrony import NotScored, Synchrony, score_synchrony
from actavatar_jax.synchrony.syncnet import load_syncnet

__all__ = [
    "Judgement",
    "NotScored",
    "Report",
    "Synchrony",
    "SynchronySummary",
    "Truth",
    "load_syncnet",
    "score_clips",
    "score_synchrony",
    "summarise_synchrony",
]
