"""Names of the umT5 encoder's tensors in transformers and in the original Wan file, and its `config.json`."""

import re
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models import UMT5Config
from actavatar_jax.storage import shown
from actavatar_jax.weights.names import Entry, Table, linear
from actavatar_jax.weights.tables.fields import read_fields

# Ours below one layer, theirs in transformers, theirs in Wan.
_LINEARS = (
    ("self_attn/query", "layer.0.SelfAttention.q", "attn.q"),
    ("self_attn/key", "layer.0.SelfAttention.k", "attn.k"),
    ("self_attn/value", "layer.0.SelfAttention.v", "attn.v"),
    ("self_attn/out", "layer.0.SelfAttention.o", "attn.o"),
    ("ffn/gate", "layer.1.DenseReluDense.wi_0", "ffn.gate.0"),
    ("ffn/up", "layer.1.DenseReluDense.wi_1", "ffn.fc1"),
    ("ffn/down", "layer.1.DenseReluDense.wo", "ffn.fc2"),
)
_VECTORS = (
    ("attn_norm/scale", "layer.0.layer_norm", "norm1"),
    ("self_attn/position_bias/embedding", "layer.0.SelfAttention.relative_attention_bias", "pos_embedding.embedding"),
    ("ffn_norm/scale", "layer.1.layer_norm", "norm2"),
)
_CONFIG = {  # key of config.json -> ours
    "vocab_size": "vocab_size",
    "d_model": "width",
    "num_heads": "heads",
    "d_kv": "head_dim",
    "d_ff": "ffn",
    "num_layers": "layers",
    "relative_attention_num_buckets": "buckets",
    "relative_attention_max_distance": "max_distance",
    "layer_norm_epsilon": "eps",
}

MATRICES = r"layers/(self_attn|ffn)/\w+/kernel"  # all that is large but the token embedding


def diffusers(config: UMT5Config) -> Table:
    """transformers' `UMT5EncoderModel`, as in the `text_encoder` folder of a diffusers model."""
    entries = [
        Entry("shared.weight", "token_embedding/embedding"),
        Entry("encoder.final_layer_norm.weight", "norm/scale"),
    ]
    for i in range(config.layers):
        for ours, theirs, _ in _LINEARS:
            entries += linear(f"encoder.block.{i}.{theirs}", f"layers/{ours}", i, bias=False)
        for ours, theirs, _ in _VECTORS:
            entries.append(Entry(f"encoder.block.{i}.{theirs}.weight", f"layers/{ours}", layer=i))
    return tuple(entries)


def wan(config: UMT5Config) -> Table:
    """`models_t5_umt5-xxl-enc-bf16.pth` of the original release."""
    entries = [
        Entry("token_embedding.weight", "token_embedding/embedding"),
        Entry("norm.weight", "norm/scale"),
    ]
    for i in range(config.layers):
        for ours, _, theirs in _LINEARS:
            entries += linear(f"blocks.{i}.{theirs}", f"layers/{ours}", i, bias=False)
        for ours, _, theirs in _VECTORS:
            entries.append(Entry(f"blocks.{i}.{theirs}.weight", f"layers/{ours}", layer=i))
    return tuple(entries)


def canonical(name: str) -> str | None:
    """The table's name of a tensor found in a file; `None` for the copy of a tied one and for the unused decoder."""
    return None if re.match(r"encoder\.embed_tokens\.|decoder\.|lm_head\.", name) else name


def to_json(config: UMT5Config) -> dict[str, Any]:
    """The content of `text_encoder/config.json`; the compute dtype is not part of it."""
    return {
        "architectures": ["UMT5EncoderModel"],
        "model_type": "umt5",
        **{theirs: getattr(config, ours) for theirs, ours in _CONFIG.items()},
        "dense_act_fn": "gelu_new",
        "dropout_rate": 0.1,
        "eos_token_id": 1,
        "feed_forward_proj": "gated-gelu",
        "initializer_factor": 1.0,
        "is_encoder_decoder": True,
        "is_gated_act": True,
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": False,
        "use_cache": True,
    }


def from_json(values: dict[str, Any]) -> UMT5Config:
    """Inverse of `to_json`.

    Raises:
      InputError: a key is missing or has a value that cannot be, or the file describes another kind of text encoder.
    """
    kind = values.get("model_type"), values.get("feed_forward_proj")
    if kind != ("umt5", "gated-gelu"):
        raise InputError(
            "It describes no umT5: accepted is model_type umt5 with feed_forward_proj gated-gelu, not "
            f"{shown(kind[0])} with {shown(kind[1])}."
        )
    return UMT5Config(**read_fields(UMT5Config, values, _CONFIG))
