"""AvatarSync: speech as units, one keyframe of visual tokens for each of them, and the frames in between."""

from actavatar_jax.avatarsync.interpolation import Interpolator, InterpolatorConfig, fill_frames
from actavatar_jax.avatarsync.keyframes import (
    KeyframeConfig,
    KeyframeSampling,
    KeyframeTransformer,
    sample_keyframes,
    seen_units,
)
from actavatar_jax.avatarsync.tokenizer import (
    LFQConfig,
    LFQTokenizer,
    PatchTokens,
    PatchTokensConfig,
    SmallLFQConfig,
    fit_patch_tokens,
)
from actavatar_jax.avatarsync.units import (
    Alignment,
    Schedule,
    Unit,
    align_text,
    is_alignment,
    list_units,
    read_alignment,
    schedule,
    to_units,
)

__all__ = [
    "Alignment",
    "Interpolator",
    "InterpolatorConfig",
    "KeyframeConfig",
    "KeyframeSampling",
    "KeyframeTransformer",
    "LFQConfig",
    "LFQTokenizer",
    "PatchTokens",
    "PatchTokensConfig",
    "Schedule",
    "SmallLFQConfig",
    "Unit",
    "align_text",
    "fill_frames",
    "fit_patch_tokens",
    "is_alignment",
    "list_units",
    "read_alignment",
    "sample_keyframes",
    "schedule",
    "seen_units",
    "to_units",
]
