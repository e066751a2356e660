"""Names of the transformer's tensors in diffusers and in the original Wan release, and its config files.

Both layouts hold the same 825 backbone tensors in the same shapes under different names. The tensors that ActAvatar
adds have one name in both; those of the audio adapter are MultiTalk's.
"""

import dataclasses
from typing import Any

from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER, PHASES
from actavatar_jax.models.avatar import AudioAdapterConfig, DiTConfig
from actavatar_jax.prompt.forms import bias_of
from actavatar_jax.storage import shown
from actavatar_jax.weights.names import Entry, Table, linear, norm, reshape
from actavatar_jax.weights.tables.backbone import DIFFUSERS, WAN, backbone
from actavatar_jax.weights.tables.fields import own_keys, read_fields, refuse_unknown

# Ours, MultiTalk's: linear layers of the audio adapter, in one block and outside the blocks.
_AUDIO_ATTENTION = (("query", "q_linear"), ("key_value", "kv_linear"), ("out", "proj"))
_AUDIO_PROJECTION = (("first", "proj1"), ("rest", "proj1_vf"), ("hidden", "proj2"), ("tokens", "proj3"))

# Ours that a plain backbone file lacks; as initialised they leave the backbone's output as it is.
ADDED = "|".join((ADAPTER, PHASES, r"(frame_time|place)/.*"))

# key of diffusers' config.json -> ours, and the original's key -> ours
_CONFIG = {
    "num_attention_heads": "heads",
    "attention_head_dim": "head_dim",
    "ffn_dim": "ffn",
    "num_layers": "layers",
    "in_channels": "in_channels",
    "out_channels": "out_channels",
    "text_dim": "text_dim",
    "freq_dim": "freq_dim",
    "eps": "eps",
    "patch_size": "patch",
}
_WAN_CONFIG = {
    "dim": "width",
    "num_heads": "heads",
    "ffn_dim": "ffn",
    "num_layers": "layers",
    "in_dim": "in_channels",
    "out_dim": "out_channels",
    "text_dim": "text_dim",
    "text_len": "text_len",
    "freq_dim": "freq_dim",
    "eps": "eps",
    "patch_size": "patch",
}
_WAN_OPTIONAL = {"text_dim", "text_len", "patch_size"}  # the release leaves them to the defaults of the class
# Ours, beside the audio adapter's.
_SETTINGS = ("max_phases", "phase_time", "time_scale", "latent_rate", "frame_time", "place", "linear_guess", "text_len")


def diffusers(config: DiTConfig) -> Table:
    """diffusers' `WanTransformer3DModel`, with our tensors beside its own."""
    return _table(config, DIFFUSERS)


def wan(config: DiTConfig) -> Table:
    """`diffusion_pytorch_model-*.safetensors` of the original release, with our tensors beside its own."""
    return _table(config, WAN)


def _table(config: DiTConfig, side: int) -> Table:
    entries = [
        *backbone(config, side),
        Entry("phase_embedding.weight", "phase_embedding/embedding"),
        *norm("audio_proj.norm", "audio_projection/norm"),
    ]
    for ours, theirs in _AUDIO_PROJECTION:
        entries += linear(f"audio_proj.{theirs}", f"audio_projection/{ours}")
    if config.frame_time:
        entries += linear("frame_time", "frame_time")
    if config.place:
        entries += linear("place", "place")
    if config.linear_guess:
        entries.append(Entry("latent_log_variance", "latent_log_variance"))

    for i in range(config.layers):
        entries += norm(f"blocks.{i}.norm_x", "blocks/audio_norm", i)
        for ours, theirs in _AUDIO_ATTENTION:
            entries += linear(f"blocks.{i}.audio_cross_attn.{theirs}", f"blocks/audio_attn/{ours}", i)
        if bias_of(config.phase_time) == "soft_relay":
            entries.append(Entry(f"blocks.{i}.window_strength", "blocks/window_strength", reshape((1,), ()), i))
    return tuple(entries)


def to_json(config: DiTConfig) -> dict[str, Any]:
    """The content of diffusers' `transformer/config.json`, and our settings under `actavatar`.

    Raises:
      InputError: the layout cannot say that the width is not heads x head_dim.
    """
    _check_width(config)
    return {
        "_class_name": "WanTransformer3DModel",
        "added_kv_proj_dim": None,
        "cross_attn_norm": True,
        "image_dim": None,
        "pos_embed_seq_len": None,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 1024,
        **{theirs: _plain(getattr(config, ours)) for theirs, ours in _CONFIG.items()},
        "actavatar": _settings(config),
    }


def from_json(values: dict[str, Any]) -> DiTConfig:
    """Inverse of `to_json`; a plain Wan2.2-TI2V file gives the default settings of our additions.

    `image_dim` and `added_kv_proj_dim` are ignored: some copies of the 5B model have values there and no such tensors.

    Raises:
      InputError: a key is missing, or the file describes another kind of transformer.
    """
    kind = values.get("_class_name"), values.get("qk_norm"), values.get("cross_attn_norm")
    if kind != ("WanTransformer3DModel", "rms_norm_across_heads", True):
        raise InputError(
            "It describes another network: accepted is _class_name WanTransformer3DModel with qk_norm "
            f"rms_norm_across_heads and cross_attn_norm true, not {shown(kind[0])} with {shown(kind[1])} and "
            f"{shown(kind[2])}."
        )
    refuse_unknown(values, {*to_json(DiTConfig())})
    known = read_fields(DiTConfig, values, _CONFIG)
    return DiTConfig(**known, width=known["heads"] * known["head_dim"], **_from_settings(values))


def to_wan_json(config: DiTConfig) -> dict[str, Any]:
    """The content of the original release's `config.json`, and our settings under `actavatar`."""
    _check_width(config)
    return {
        "_class_name": "WanModel",
        "model_type": "ti2v",
        **{theirs: _plain(getattr(config, ours)) for theirs, ours in _WAN_CONFIG.items()},
        "actavatar": _settings(config),
    }


def from_wan_json(values: dict[str, Any]) -> DiTConfig:
    """Inverse of `to_wan_json`.

    Raises:
      InputError: a key is missing, or the file describes another model of the Wan family.
    """
    if (kind := values.get("model_type")) != "ti2v":
        raise InputError(f"It describes a Wan model of type {shown(kind)}; accepted is ti2v.")
    known = read_fields(DiTConfig, values, _WAN_CONFIG, _WAN_OPTIONAL)
    if known["width"] % known["heads"]:
        raise InputError(f"Its dim of {known['width']} is no multiple of its num_heads, {known['heads']}.")
    return DiTConfig(**(_from_settings(values) | known), head_dim=known["width"] // known["heads"])


def _check_width(config: DiTConfig) -> None:
    if config.width != config.heads * config.head_dim:
        raise InputError(
            f"A width of {config.width} with {config.heads} heads of {config.head_dim} has no PyTorch layout; "
            "width must be heads x head_dim."
        )


def _settings(config: DiTConfig) -> dict[str, Any]:
    return {**{key: getattr(config, key) for key in _SETTINGS}, "audio": dataclasses.asdict(config.audio)}


def _from_settings(values: dict[str, Any]) -> dict[str, Any]:
    settings = dict(typed("actavatar", values.get("actavatar", {}), dict))
    audio = typed("audio under actavatar", settings.pop("audio", {}), dict)
    if settings.pop("precondition", False):
        raise InputError(
            "It was trained by an older version, on noisy latents where it now sees the linear guess of clean ones "
            "(linear_guess); train it again."
        )
    known, sizes = dict.fromkeys(_SETTINGS), own_keys(AudioAdapterConfig)
    refuse_unknown(settings, known, " under actavatar")
    refuse_unknown(audio, sizes, " under actavatar, audio,")
    return {
        **read_fields(DiTConfig, settings, {key: key for key in known}, known),
        "audio": AudioAdapterConfig(**read_fields(AudioAdapterConfig, audio, sizes, sizes)),
    }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
