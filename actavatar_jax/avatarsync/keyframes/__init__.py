"""Keyframes: the autoregressive transformer that writes one for every unit, its mask, and its sampler."""

from actavatar_jax.avatarsync.keyframes.config import PRESETS, VISIBLE, KeyframeConfig
from actavatar_jax.avatarsync.keyframes.mask import Seen, seen_units
from actavatar_jax.avatarsync.keyframes.model import KeyframeTransformer
from actavatar_jax.avatarsync.keyframes.sampler import KeyframeSampling, sample_keyframes

__all__ = [
    "PRESETS",
    "VISIBLE",
    "KeyframeConfig",
    "KeyframeSampling",
    "KeyframeTransformer",
    "Seen",
    "sample_keyframes",
    "seen_units",
]
