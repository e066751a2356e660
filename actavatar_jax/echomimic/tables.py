"""Names of EchoMimicV3's tensors in its public files, and of its backbone in diffusers.

Audio has one set of names; diffusers' `WanTransformer3DModel` has no place for it.
"""

from actavatar_jax.echomimic.config import EchoMimicConfig
from actavatar_jax.weights.names import Entry, Table, linear, norm
from actavatar_jax.weights.tables.backbone import DIFFUSERS, WAN, backbone

# Ours, theirs in diffusers, theirs in Wan.
_IMAGE = ("image_projection", "condition_embedder.image_embedder", "img_emb")
_IMAGE_LINEARS = (("linear_1", "ff.net.0.proj", "proj.1"), ("linear_2", "ff.net.2", "proj.3"))
_IMAGE_NORMS = (("in_norm", "norm1", "proj.0"), ("out_norm", "norm2", "proj.4"))
_IMAGE_ATTENTION = (
    ("image_attn/key", "attn2.add_k_proj", "cross_attn.k_img"),
    ("image_attn/value", "attn2.add_v_proj", "cross_attn.v_img"),
)
_IMAGE_NORM_KEY = ("attn2.norm_added_k.weight", "cross_attn.norm_k_img.weight")

_FLASH_PROJECTION = (("first", "proj1"), ("rest", "proj1_vf"), ("hidden", "proj2"), ("tokens", "proj3"))
_AUDIO_ATTENTION = {
    "preview": (("key", "k_audio"), ("value", "v_audio")),
    "flash": (("query", "q_audio"), ("key", "k_audio"), ("value", "v_audio")),
}


def diffusers(config: EchoMimicConfig) -> Table:
    """diffusers' `WanTransformer3DModel` with the audio tensors beside its own."""
    return _table(config, DIFFUSERS)


def original(config: EchoMimicConfig) -> Table:
    """`diffusion_pytorch_model.safetensors`, of Wan2.1-Fun (without audio) and of EchoMimicV3."""
    return _table(config, WAN)


def _table(config: EchoMimicConfig, side: int) -> Table:
    entries = backbone(config, side)
    image, *prefixes = _IMAGE
    for ours, *theirs in _IMAGE_LINEARS:
        entries += linear(f"{prefixes[side]}.{theirs[side]}", f"{image}/{ours}")
    for ours, *theirs in _IMAGE_NORMS:
        entries += norm(f"{prefixes[side]}.{theirs[side]}", f"{image}/{ours}")
    for i in range(config.layers):
        for ours, *theirs in _IMAGE_ATTENTION:
            entries += linear(f"blocks.{i}.{theirs[side]}", f"blocks/{ours}", i)
        entries.append(Entry(f"blocks.{i}.{_IMAGE_NORM_KEY[side]}", "blocks/image_attn/norm_key/scale", layer=i))
    return (*entries, *_audio(config))


def _audio(config: EchoMimicConfig) -> list[Entry]:
    flash = config.variant == "flash"
    if flash:
        entries = norm("audio_injection.norm", "audio_projection/norm")
        for ours, theirs in _FLASH_PROJECTION:
            entries += linear(f"audio_injection.{theirs}", f"audio_projection/{ours}")
    else:
        entries = norm("audio2token.norm", "audio_projection/norm")
        entries += linear("audio2token.proj", "audio_projection/linear", bias=False)
    for i in range(config.layers):
        block = f"blocks.{i}.cross_attn"
        for ours, theirs in _AUDIO_ATTENTION[config.variant]:
            entries += linear(f"{block}.{theirs}", f"blocks/audio_attn/{ours}", i, bias=flash)
        entries.append(Entry(f"{block}.norm_k_audio.weight", "blocks/audio_attn/norm_key/scale", layer=i))
    return entries
