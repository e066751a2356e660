"""Networks as pure functions of arrays, how they are computed, and sizes of complete systems."""

from actavatar_jax.models.attention import self_attention_form
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.flops import PEAKS, condition_flops, forward_flops, peak_flops, train_flops
from actavatar_jax.models.frame_decoder import FrameDecoder, FrameDecoderConfig
from actavatar_jax.models.patch_codec import GROUP, PatchCodec, PatchCodecConfig, fit_patch_codec
from actavatar_jax.models.presets import ADAPTER, MATRICES, PHASES, PRESETS, Preset
from actavatar_jax.models.umt5 import UMT5Config, UMT5Encoder
from actavatar_jax.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config, standardise

__all__ = [
    "ADAPTER",
    "GROUP",
    "MATRICES",
    "PEAKS",
    "PHASES",
    "PRESETS",
    "Execution",
    "FrameDecoder",
    "FrameDecoderConfig",
    "PatchCodec",
    "PatchCodecConfig",
    "Preset",
    "UMT5Config",
    "UMT5Encoder",
    "Wav2Vec2",
    "Wav2Vec2Config",
    "condition_flops",
    "fit_patch_codec",
    "forward_flops",
    "peak_flops",
    "self_attention_form",
    "standardise",
    "train_flops",
]
