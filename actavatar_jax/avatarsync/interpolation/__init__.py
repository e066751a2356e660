"""Interpolation: the frames between two keyframes, by a selective state space over their interleaved tokens."""

from actavatar_jax.avatarsync.interpolation.config import MERGES, PUPPET, InterpolatorConfig
from actavatar_jax.avatarsync.interpolation.filling import fill_frames, stream_frames
from actavatar_jax.avatarsync.interpolation.model import Interpolator, Stages

__all__ = ["MERGES", "PUPPET", "Interpolator", "InterpolatorConfig", "Stages", "fill_frames", "stream_frames"]
