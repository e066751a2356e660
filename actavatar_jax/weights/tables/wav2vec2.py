"""Names of Wav2Vec 2.0's tensors in transformers, and its `config.json`."""

import re
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models import Wav2Vec2Config
from actavatar_jax.storage import shown
from actavatar_jax.weights.names import CONV1D, Entry, Table, linear, norm, reshape
from actavatar_jax.weights.tables.fields import read_fields

_LINEARS = (
    ("self_attn/query", "attention.q_proj"),
    ("self_attn/key", "attention.k_proj"),
    ("self_attn/value", "attention.v_proj"),
    ("self_attn/out", "attention.out_proj"),
    ("ffn/up", "feed_forward.intermediate_dense"),
    ("ffn/down", "feed_forward.output_dense"),
)
_CONFIG = {  # key of config.json -> ours
    "hidden_size": "hidden",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "intermediate_size": "ffn",
    "conv_dim": "conv_dim",
    "conv_kernel": "conv_kernel",
    "conv_stride": "conv_stride",
    "conv_bias": "conv_bias",
    "feat_extract_norm": "conv_norm",
    "do_stable_layer_norm": "stable_layer_norm",
    "num_conv_pos_embeddings": "pos_conv_kernel",
    "num_conv_pos_embedding_groups": "pos_conv_groups",
    "layer_norm_eps": "eps",
}
_FIXED = {"model_type": "wav2vec2", "hidden_act": "gelu", "feat_extract_activation": "gelu"}  # all that is accepted

MAY_MISS = "masked_spec_embed"  # ours; unused here, and absent from some published files (wav2vec2-base-960h)


def hf(config: Wav2Vec2Config) -> Table:
    """transformers' `Wav2Vec2Model`, with the positional convolution's names of the published files."""
    entries = [Entry("masked_spec_embed", "masked_spec_embed")]
    for i in range(len(config.conv_dim)):
        ours, theirs = f"conv_layers/{i}", f"feature_extractor.conv_layers.{i}"
        entries.append(Entry(f"{theirs}.conv.weight", f"{ours}/conv/kernel", CONV1D))
        if config.conv_bias:
            entries.append(Entry(f"{theirs}.conv.bias", f"{ours}/conv/bias"))
        if i == 0 or config.conv_norm == "layer":
            entries += norm(f"{theirs}.layer_norm", f"{ours}/norm")
    entries += norm("feature_projection.layer_norm", "projection_norm")
    entries += linear("feature_projection.projection", "projection")

    gain = reshape((1, 1, config.pos_conv_kernel), (config.pos_conv_kernel,))
    entries += [
        Entry("encoder.pos_conv_embed.conv.bias", "position/bias"),
        Entry("encoder.pos_conv_embed.conv.weight_g", "position/gain", gain),
        Entry("encoder.pos_conv_embed.conv.weight_v", "position/direction", CONV1D),
    ]
    entries += norm("encoder.layer_norm", "norm")
    for i in range(config.layers):
        for ours, theirs in _LINEARS:
            entries += linear(f"encoder.layers.{i}.{theirs}", f"layers/{ours}", i)
        entries += norm(f"encoder.layers.{i}.layer_norm", "layers/attn_norm", i)
        entries += norm(f"encoder.layers.{i}.final_layer_norm", "layers/ffn_norm", i)
    return tuple(entries)


def canonical(name: str) -> str | None:
    """The table's name of a tensor found in a file; `None` for the heads of recognition and pre-training."""
    if re.match(r"lm_head\.|quantizer\.|project_hid\.|project_q\.", name):
        return None
    name = name.removeprefix("wav2vec2.")
    name = name.replace("conv.parametrizations.weight.original0", "conv.weight_g")
    return name.replace("conv.parametrizations.weight.original1", "conv.weight_v")


def to_json(config: Wav2Vec2Config) -> dict[str, Any]:
    """The content of `config.json`; the compute dtype is not part of it."""
    values = {theirs: getattr(config, ours) for theirs, ours in _CONFIG.items()}
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return {"architectures": ["Wav2Vec2Model"], **_FIXED, **values, "num_feat_extract_layers": len(config.conv_dim)}


def from_json(values: dict[str, Any]) -> Wav2Vec2Config:
    """Inverse of `to_json`.

    Raises:
      InputError: a key is missing or has a value that cannot be, or the file describes another kind of audio encoder.
    """
    # Old files leave out the activations, which are gelu unless they say otherwise.
    other = [f"{key} {shown(values.get(key))}" for key, value in _FIXED.items() if values.get(key, "gelu") != value]
    if other or values.get("add_adapter") or values.get("adapter_attn_dim"):
        raise InputError(
            "It describes no plain Wav2Vec 2.0: accepted is model_type wav2vec2 with gelu activations and no adapter, "
            f"not {', '.join(other) or 'an adapter'}."
        )
    return Wav2Vec2Config(**read_fields(Wav2Vec2Config, values, _CONFIG))
