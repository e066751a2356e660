"""Measuring generated clips: scores of what a judge saw against what was asked for; distances of sets and of pairs."""

from actavatar_jax.evaluation.faces import open_yunet
from actavatar_jax.evaluation.identity import csim
from actavatar_jax.evaluation.pairs import lpips, psnr, ssim
from actavatar_jax.evaluation.results import IdentityScore, PairScore, SetDistance
from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips
from actavatar_jax.evaluation.sets import fid, fvd, kid

__all__ = [
    "IdentityScore",
    "Judgement",
    "PairScore",
    "Report",
    "SetDistance",
    "Truth",
    "csim",
    "fid",
    "fvd",
    "kid",
    "lpips",
    "open_yunet",
    "psnr",
    "score_clips",
    "ssim",
]
