"""Sizes of EchoMimicV3's transformer that have a name."""

from actavatar_jax.echomimic.config import EchoMimicConfig

_TINY = {
    "width": 64,
    "heads": 2,
    "head_dim": 32,
    "ffn": 128,
    "layers": 2,
    "in_channels": 20,
    "out_channels": 8,
    "text_dim": 64,
    "text_len": 96,
    "image_dim": 32,
    "image_tokens": 17,
    "freq_dim": 64,
    "audio_dim": 64,
    "audio_layers": 2,
    "audio_hidden": 32,
    "audio_tokens": 4,
}

PRESETS = {
    "preview": EchoMimicConfig(variant="preview"),
    "flash": EchoMimicConfig(variant="flash"),
    "tiny": EchoMimicConfig(variant="preview", **_TINY),
    "tiny_flash": EchoMimicConfig(variant="flash", **_TINY),
}
