"""AvatarSync: speech as units, one keyframe of visual tokens for each of them, and the frames in between."""

from actavatar_jax.avatarsync.folder import Part, Parts, open_part, open_parts, save_part, save_parts
from actavatar_jax.avatarsync.framing import Framing, frame_head, square_around
from actavatar_jax.avatarsync.interpolation import Interpolator, InterpolatorConfig, fill_frames, stream_frames
from actavatar_jax.avatarsync.keyframes import (
    KeyframeConfig,
    KeyframeSampling,
    KeyframeTransformer,
    sample_keyframes,
    seen_units,
)
from actavatar_jax.avatarsync.painting import KeyframePainter, compiled_interpolator
from actavatar_jax.avatarsync.pipeline import AvatarSyncPipeline, Draft, Take
from actavatar_jax.avatarsync.plan import Plan, plan_speech, plan_text, voice_of
from actavatar_jax.avatarsync.published import import_part
from actavatar_jax.avatarsync.recognition import Recogniser
from actavatar_jax.avatarsync.tokenizer import (
    LFQConfig,
    LFQTokenizer,
    PatchTokens,
    PatchTokensConfig,
    SmallLFQConfig,
    fit_patch_tokens,
)
from actavatar_jax.avatarsync.units import (
    ALLOCATIONS,
    LEVELS,
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
    "ALLOCATIONS",
    "LEVELS",
    "Alignment",
    "AvatarSyncPipeline",
    "Draft",
    "Framing",
    "Interpolator",
    "InterpolatorConfig",
    "KeyframeConfig",
    "KeyframePainter",
    "KeyframeSampling",
    "KeyframeTransformer",
    "LFQConfig",
    "LFQTokenizer",
    "Part",
    "Parts",
    "PatchTokens",
    "PatchTokensConfig",
    "Plan",
    "Recogniser",
    "Schedule",
    "SmallLFQConfig",
    "Take",
    "Unit",
    "align_text",
    "compiled_interpolator",
    "fill_frames",
    "fit_patch_tokens",
    "frame_head",
    "import_part",
    "is_alignment",
    "list_units",
    "open_part",
    "open_parts",
    "plan_speech",
    "plan_text",
    "read_alignment",
    "sample_keyframes",
    "save_part",
    "save_parts",
    "schedule",
    "seen_units",
    "square_around",
    "stream_frames",
    "to_units",
    "voice_of",
]
