"""Names of the tensors that all transformers of Wan have, in diffusers and in the original releases."""

import math

from actavatar_jax.models.avatar.config import WanSizes
from actavatar_jax.weights.names import LINEAR, Entry, chain, linear, reshape

DIFFUSERS, WAN = 0, 1  # the sides of a table: which of two names

Names = tuple[str, str, str]  # ours, theirs in diffusers, theirs in Wan

_LINEARS: tuple[Names, ...] = (
    ("time_embedding/linear_1", "condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("time_embedding/linear_2", "condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("time_projection", "condition_embedder.time_proj", "time_projection.1"),
    ("text_embedding/linear_1", "condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("text_embedding/linear_2", "condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("head/out", "proj_out", "head.head"),
)
# The same inside one block.
_BLOCK_LINEARS: tuple[Names, ...] = (
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
)
_BLOCK_VECTORS: tuple[Names, ...] = (
    ("self_attn/norm_query/scale", "attn1.norm_q.weight", "self_attn.norm_q.weight"),
    ("self_attn/norm_key/scale", "attn1.norm_k.weight", "self_attn.norm_k.weight"),
    ("cross_attn/norm_query/scale", "attn2.norm_q.weight", "cross_attn.norm_q.weight"),
    ("cross_attn/norm_key/scale", "attn2.norm_k.weight", "cross_attn.norm_k.weight"),
    ("cross_norm/scale", "norm2.weight", "norm3.weight"),  # diffusers numbers the norms in the order of use
    ("cross_norm/bias", "norm2.bias", "norm3.bias"),
)
_MODULATION = ("scale_shift_table", "modulation")


def backbone(config: WanSizes, side: int) -> list[Entry]:
    """The entries of patch embedding, time, text, blocks and head on one side."""
    patch, width, channels = math.prod(config.patch), config.width, config.in_channels
    entries = [
        Entry(  # rows in (channel, time, row, column) order
            "patch_embedding.weight",
            "patch_embedding/kernel",
            chain(reshape((width, channels, *config.patch), (width, channels * patch)), LINEAR),
        ),
        Entry("patch_embedding.bias", "patch_embedding/bias"),
        Entry(("scale_shift_table", "head.modulation")[side], "head/modulation", reshape((1, 2, width), (2, width))),
    ]
    for ours, *theirs in _LINEARS:
        entries += linear(theirs[side], ours)
    modulation = reshape((1, 6, width), (6, width))
    for i in range(config.layers):
        entries.append(Entry(f"blocks.{i}.{_MODULATION[side]}", "blocks/modulation", modulation, i))
        for ours, *theirs in _BLOCK_LINEARS:
            entries += linear(f"blocks.{i}.{theirs[side]}", f"blocks/{ours}", i)
        for ours, *theirs in _BLOCK_VECTORS:
            entries.append(Entry(f"blocks.{i}.{theirs[side]}", f"blocks/{ours}", layer=i))
    return entries
