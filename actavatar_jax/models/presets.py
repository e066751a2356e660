"""Sizes of complete systems: one frozen config per part."""

import dataclasses
from typing import Any

from actavatar_jax import functional
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.models.patch_codec import PatchCodec, PatchCodecConfig
from actavatar_jax.models.umt5 import UMT5Config, UMT5Encoder
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.models.wav2vec2 import Wav2Vec2, Wav2Vec2Config

# Whole '/' names of what ActAvatar adds to the backbone.
ADAPTER = r"audio_projection/.*|blocks/audio_(norm|attn)/.*"
PHASES = r"phase_embedding/.*|blocks/window_strength"
# The large kernels of the blocks: what is quantized, and what LoRA is added to, where nothing else is said.
MATRICES = r"blocks/(self_attn|cross_attn|audio_attn|ffn)/\w+/kernel"


@dataclasses.dataclass(frozen=True)
class Preset:
    """The four networks of one system."""

    transformer: DiTConfig
    vae: VAEConfig | PatchCodecConfig
    text_encoder: UMT5Config
    audio_encoder: Wav2Vec2Config


def _small(
    width: int, layers: int, heads: int, channels: int, text_len: int = 96, conv_dim=(64,) * 7, **options: Any
) -> Preset:
    text, audio = 64, 64
    return Preset(
        transformer=DiTConfig(
            width=width,
            heads=heads,
            head_dim=width // heads,
            ffn=2 * width,
            layers=layers,
            in_channels=channels,
            out_channels=channels,
            text_dim=text,
            text_len=text_len,
            freq_dim=64,
            audio=AudioAdapterConfig(feature_layers=2, feature_width=audio, hidden=96, tokens=8, token_width=64),
            frame_time=True,
            **options,
        ),
        vae=PatchCodecConfig(channels=channels),
        text_encoder=UMT5Config(vocab_size=1024, width=text, heads=4, head_dim=16, ffn=128, layers=2),
        audio_encoder=Wav2Vec2Config(
            hidden=audio,
            layers=2,
            heads=4,
            ffn=128,
            conv_dim=conv_dim,
            pos_conv_kernel=16,
            pos_conv_groups=4,
        ),
    )


PRESETS = {
    "wan22_ti2v_5b": Preset(DiTConfig(), VAEConfig(), UMT5Config(), Wav2Vec2Config()),
    "tiny": _small(width=64, layers=2, heads=2, channels=8),
    "demo": _small(width=256, layers=3, heads=4, channels=24),
    "small": _small(width=384, layers=3, heads=6, channels=80),
    "puppets": _small(
        width=256,
        layers=4,
        heads=4,
        channels=64,
        text_len=112,
        conv_dim=(32, 32, 48, 64, 64, 64, 64),
        patch=(1, 1, 1),
        place=True,
        linear_guess=True,
    ),
}


def parameter_counts(name: str) -> dict[str, int]:
    """Parameters of each part of a preset, counted without allocating any."""
    preset = PRESETS[name]
    flat = functional.flatten(functional.abstract(ActAvatarDiT, preset.transformer))
    adapter, rest = functional.split(flat, ADAPTER)
    phases, backbone = functional.split(rest, PHASES)
    vae = PatchCodec if isinstance(preset.vae, PatchCodecConfig) else WanVAE
    return {
        "backbone": functional.count(backbone),
        "adapter": functional.count(adapter),
        "phases": functional.count(phases),
        "vae": functional.count(functional.abstract(vae, preset.vae)),
        "umt5": functional.count(functional.abstract(UMT5Encoder, preset.text_encoder)),
        "wav2vec2": functional.count(functional.abstract(Wav2Vec2, preset.audio_encoder)),
    }
