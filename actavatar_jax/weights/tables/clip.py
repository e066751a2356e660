"""Names of CLIP's picture tower in the file of Wan2.1."""

from actavatar_jax.models.clip import CLIPVisionConfig
from actavatar_jax.weights.names import LINEAR, Entry, Table, chain, linear, norm, reshape

_LINEARS = (("qkv", "attn.to_qkv"), ("out", "attn.proj"), ("up", "mlp.0"), ("down", "mlp.2"))
_NORMS = (("attn_norm", "norm1"), ("ffn_norm", "norm2"))


def wan(config: CLIPVisionConfig) -> Table:
    """`models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth`, as far as it is used."""
    width, patch, tokens = config.width, config.patch, config.tokens
    kernel = chain(reshape((width, 3, patch, patch), (width, 3 * patch**2)), LINEAR)
    entries = [
        Entry("visual.patch_embedding.weight", "patch_embedding/kernel", kernel),
        Entry("visual.cls_embedding", "class_token", reshape((1, 1, width), (width,))),
        Entry("visual.pos_embedding", "position", reshape((1, tokens, width), (tokens, width))),
        *norm("visual.pre_norm", "norm"),
    ]
    for i in range(config.layers):
        block = f"visual.transformer.{i}"
        for ours, theirs in _LINEARS:
            entries += linear(f"{block}.{theirs}", f"layers/{ours}", i)
        for ours, theirs in _NORMS:
            entries += norm(f"{block}.{theirs}", f"layers/{ours}", i)
    return tuple(entries)


def unused(config: CLIPVisionConfig) -> str:
    """Regex of what else the file holds: the text tower, and what follows the hidden state that is used."""
    return rf"textual\..*|log_scale|visual\.(transformer\.{config.layers}|post_norm)\..*|visual\.head"
