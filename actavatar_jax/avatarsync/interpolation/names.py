"""Names of the interpolator's tensors in VFIMamba's files (there behind `module.`)."""

from actavatar_jax.avatarsync.interpolation.backbone import CONVOLUTIONAL
from actavatar_jax.avatarsync.interpolation.config import InterpolatorConfig
from actavatar_jax.weights.names import CONV2D, Entry, Table, linear, norm, transpose

TRANSPOSED = transpose(2, 3, 0, 1)  # [I, O, kh, kw] <-> [kh, kw, I, O]

_MIXER = (
    ("x_proj_weight", "x_proj"),
    ("dt_projs_weight", "dt_proj"),
    ("dt_projs_bias", "dt_bias"),
    ("A_logs", "log_a"),
    ("Ds", "skip"),
)
_CHANNELS = (("0", "conv1"), ("2", "conv2"), ("3.attention.1", "squeeze"), ("3.attention.3", "excite"))


def vfimamba(config: InterpolatorConfig) -> Table:
    """The 302 tensors of the network."""
    entries = []
    for stage, depth in enumerate(config.depths):
        ours = f"backbone/stages/{stage}"
        embed, block = f"feature_bone.patch_embed{stage}", f"feature_bone.block{stage}"
        if stage >= CONVOLUTIONAL:
            entries += [*norm(f"{embed}.norm", f"{ours}/norm"), *_conv(f"{embed}.proj", f"{ours}/down")]
            for i in range(depth):
                entries += _block(f"{block}.blocks.{i}", f"{ours}/blocks/{i}")
            continue
        entries += _conv_prelu(f"{embed}.0", f"{embed}.1", f"{ours}/down") if stage else []
        for i in range(depth):
            entries += _conv_prelu(f"{block}.conv.{2 * i}", f"{block}.conv.{2 * i + 1}", f"{ours}/convs/{i}")
    for i in range(2):
        for j in range(3):
            entries += _sequential(f"block.{i}.conv.{j}", f"heads/{i}/convs/{j}")
        for j in range(2):
            entries += _sequential(f"local_block.{i}.conv0.{j}", f"local/{i}/down/{j}")
        for j in range(8):
            entries += _sequential(f"local_block.{i}.convblock.{j}", f"local/{i}/convs/{j}")
        entries += _doubling(f"local_block.{i}.lastconv", f"local/{i}/last")
    for i in range(4):
        for j in (1, 2):
            entries += _sequential(f"unet.down{i}.conv{j}", f"unet/down/{i}/conv{j}")
        entries += _doubling(f"unet.up{i}.0", f"unet/up/{i}/conv")
        entries.append(Entry(f"unet.up{i}.1.weight", f"unet/up/{i}/prelu/slope"))
    return (*entries, *_conv("unet.conv", "unet/out"))


def _block(theirs: str, ours: str) -> list[Entry]:
    attention, mixer = f"{theirs}.self_attention", f"{ours}/mixer"
    entries = [Entry(f"{theirs}.{name}", f"{ours}/{name}") for name in ("skip_scale", "skip_scale2")]
    entries += [*norm(f"{theirs}.ln_1", f"{ours}/norm1"), *norm(f"{theirs}.ln_2", f"{ours}/norm2")]
    entries += [Entry(f"{attention}.{name}", f"{mixer}/{leaf}") for name, leaf in _MIXER]
    for name in ("in_proj", "out_proj"):
        entries += linear(f"{attention}.{name}", f"{mixer}/{name}", bias=False)
    entries += [*_conv(f"{attention}.conv2d", f"{mixer}/conv"), *norm(f"{attention}.out_norm", f"{mixer}/norm")]
    for name, part in _CHANNELS:
        entries += _conv(f"{theirs}.conv_blk.cab.{name}", f"{ours}/channels/{part}")
    return entries


def _sequential(theirs: str, ours: str) -> list[Entry]:
    return _conv_prelu(f"{theirs}.0", f"{theirs}.1", ours)


def _conv_prelu(conv: str, prelu: str, ours: str) -> list[Entry]:
    return [*_conv(conv, f"{ours}/conv"), Entry(f"{prelu}.weight", f"{ours}/prelu/slope")]


def _conv(theirs: str, ours: str) -> list[Entry]:
    return [Entry(f"{theirs}.weight", f"{ours}/kernel", CONV2D), Entry(f"{theirs}.bias", f"{ours}/bias")]


def _doubling(theirs: str, ours: str) -> list[Entry]:
    return [Entry(f"{theirs}.weight", f"{ours}/kernel", TRANSPOSED), Entry(f"{theirs}.bias", f"{ours}/bias")]
