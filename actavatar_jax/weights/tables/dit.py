"""Names of the transformer's tensors in diffusers and in the original Wan release, and its config files.

Both layouts hold the same 825 backbone tensors in the same shapes under different names. The tensors that ActAvatar
adds have one name in both; those of the audio adapter are MultiTalk's.
"""

import dataclasses
import math
from typing import Any

from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER, PHASES
from actavatar_jax.models.avatar import AudioAdapterConfig, DiTConfig
from actavatar_jax.prompt.forms import bias_of
from actavatar_jax.storage import shown
from actavatar_jax.weights.names import LINEAR, Entry, Table, chain, linear, reshape
from actavatar_jax.weights.tables.fields import own_keys, read_fields, refuse_unknown

# Ours, theirs in diffusers, theirs in Wan: linear layers outside the blocks.
_LINEARS = (
    ("time_embedding/linear_1", "condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("time_embedding/linear_2", "condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("time_projection", "condition_embedder.time_proj", "time_projection.1"),
    ("text_embedding/linear_1", "condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("text_embedding/linear_2", "condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("head/out", "proj_out", "head.head"),
)
# The same inside one block.
_BLOCK_LINEARS = (
    ("self_attn/query", "attn1.to_q", "self_attn.q"),
    ("self_attn/key", "attn1.to_k", "self_attn.k"),
    ("self_attn/value", "attn1.to_v", "self_attn.v"),
    ("self_attn/out", "attn1.to_out.0", "self_attn.o"),
    ("cross_attn/query", "attn2.to_q", "cross_attn.q"),
    ("cross_attn/key", "attn2.to_k", "cross_attn.k"),
    ("cross_attn/value", "attn2.to_v", "cross_attn.v"),
    ("cross_attn/out", "attn2.to_out.0", "cross_attn.o"),
    ("ffn/up", "ffn.net.0.proj", "ffn.0"),
    ("ffn/down", "ffn.net.2", "ffn.2"),
    ("audio_attn/query", "audio_cross_attn.q_linear", "audio_cross_attn.q_linear"),
    ("audio_attn/key_value", "audio_cross_attn.kv_linear", "audio_cross_attn.kv_linear"),
    ("audio_attn/out", "audio_cross_attn.proj", "audio_cross_attn.proj"),
)
_BLOCK_VECTORS = (
    ("self_attn/norm_query/scale", "attn1.norm_q.weight", "self_attn.norm_q.weight"),
    ("self_attn/norm_key/scale", "attn1.norm_k.weight", "self_attn.norm_k.weight"),
    ("cross_attn/norm_query/scale", "attn2.norm_q.weight", "cross_attn.norm_q.weight"),
    ("cross_attn/norm_key/scale", "attn2.norm_k.weight", "cross_attn.norm_k.weight"),
    ("cross_norm/scale", "norm2.weight", "norm3.weight"),  # diffusers numbers the norms in the order of use
    ("cross_norm/bias", "norm2.bias", "norm3.bias"),
    ("audio_norm/scale", "norm_x.weight", "norm_x.weight"),
    ("audio_norm/bias", "norm_x.bias", "norm_x.bias"),
)
_MODULATION = ("scale_shift_table", "modulation")
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
_SETTINGS = ("max_phases", "phase_time", "time_scale", "frame_time", "place", "linear_guess", "text_len")


def diffusers(config: DiTConfig) -> Table:
    """diffusers' `WanTransformer3DModel`, with our tensors beside its own."""
    return _table(config, 0)


def wan(config: DiTConfig) -> Table:
    """`diffusion_pytorch_model-*.safetensors` of the original release, with our tensors beside its own."""
    return _table(config, 1)


def _table(config: DiTConfig, side: int) -> Table:
    patch, width = math.prod(config.patch), config.width
    kernel = (width, config.in_channels, *config.patch)
    entries = [
        Entry(  # rows in (channel, time, row, column) order
            "patch_embedding.weight",
            "patch_embedding/kernel",
            chain(reshape(kernel, (width, config.in_channels * patch)), LINEAR),
        ),
        Entry("patch_embedding.bias", "patch_embedding/bias"),
        Entry(("scale_shift_table", "head.modulation")[side], "head/modulation", reshape((1, 2, width), (2, width))),
        Entry("phase_embedding.weight", "phase_embedding/embedding"),
        *_norm("audio_proj.norm", "audio_projection/norm"),
    ]
    for ours, *theirs in _LINEARS:
        entries += linear(theirs[side], ours)
    for ours, theirs in _AUDIO_PROJECTION:
        entries += linear(f"audio_proj.{theirs}", f"audio_projection/{ours}")
    if config.frame_time:
        entries += linear("frame_time", "frame_time")
    if config.place:
        entries += linear("place", "place")
    if config.linear_guess:
        entries.append(Entry("latent_log_variance", "latent_log_variance"))

    modulation = reshape((1, 6, width), (6, width))
    for i in range(config.layers):
        entries.append(Entry(f"blocks.{i}.{_MODULATION[side]}", "blocks/modulation", modulation, i))
        for ours, *theirs in _BLOCK_LINEARS:
            entries += linear(f"blocks.{i}.{theirs[side]}", f"blocks/{ours}", i)
        for ours, *theirs in _BLOCK_VECTORS:
            entries.append(Entry(f"blocks.{i}.{theirs[side]}", f"blocks/{ours}", layer=i))
        if bias_of(config.phase_time) == "soft_relay":
            entries.append(Entry(f"blocks.{i}.window_strength", "blocks/window_strength", reshape((1,), ()), i))
    return tuple(entries)


def _norm(theirs: str, ours: str) -> list[Entry]:
    return [Entry(f"{theirs}.weight", f"{ours}/scale"), Entry(f"{theirs}.bias", f"{ours}/bias")]


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
