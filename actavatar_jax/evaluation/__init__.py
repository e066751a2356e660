"""Measuring generated clips: what a judge saw of what was asked for, distances of sets and pairs, lip synchrony."""

from actavatar_jax.evaluation.faces import open_yunet
from actavatar_jax.evaluation.identity import csim
from actavatar_jax.evaluation.pairs import lpips, psnr, ssim
from actavatar_jax.evaluation.results import IdentityScore, PairScore, SetDistance
from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips
from actavatar_jax.evaluation.sets import fid, fvd, kid
from actavatar_jax.evaluation.synchrony import SynchronySummary, summarise_synchrony
from actavatar_jax.synchrony import NotScored, Synchrony, score_synchrony
from actavatar_jax.synchrony.syncnet import load_syncnet

__all__ = [
    "IdentityScore",
    "Judgement",
    "NotScored",
    "PairScore",
    "Report",
    "SetDistance",
    "Synchrony",
    "SynchronySummary",
    "Truth",
    "csim",
    "fid",
    "fvd",
    "kid",
    "load_syncnet",
    "lpips",
    "open_yunet",
    "psnr",
    "score_clips",
    "score_synchrony",
    "ssim",
    "summarise_synchrony",
]
