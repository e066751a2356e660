"""Names of the tensors of Wan's VAEs in diffusers and in the original releases, and the `vae/config.json` of Wan2.2.

Both layouts hold the same tensors (196, of Wan2.1 194) in the same shapes under different names.
"""

from collections.abc import Callable, Iterator
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models.wan_vae.vae import VAEConfig
from actavatar_jax.storage import shown
from actavatar_jax.weights.names import CONV2D, CONV3D, IDENTITY, LINEAR, Entry, Table, Transform, chain
from actavatar_jax.weights.tables.fields import read_fields, refuse_unknown

_CONFIG = {  # key of config.json -> ours
    "base_dim": "encoder_base",
    "decoder_base_dim": "decoder_base",
    "z_dim": "z_dim",
    "dim_mult": "multipliers",
    "num_res_blocks": "res_blocks",
    "temperal_downsample": "temporal_down",
    "patch_size": "patch",
    "latents_mean": "latents_mean",
    "latents_std": "latents_std",
}
# What follows from those, and may be absent.
_FOLLOWING = ("in_channels", "out_channels", "scale_factor_spatial", "scale_factor_temporal")
_UNUSED = ("clip_output",)  # of older versions of diffusers

# A part of the model: our prefix, theirs in diffusers, theirs in the original, and what it is.
Part = tuple[str, str, str, Callable[[str, str], list[Entry]]]


def diffusers(config: VAEConfig) -> Table:
    """diffusers' `AutoencoderKLWan`."""
    return tuple(e for ours, theirs, _, kind in _parts(config) for e in kind(theirs, ours))


def wan(config: VAEConfig) -> Table:
    """`Wan2.2_VAE.pth` or `Wan2.1_VAE.pth` of the original releases."""
    return tuple(e for ours, _, theirs, kind in _parts(config) for e in kind(theirs, ours))


def to_json(config: VAEConfig) -> dict[str, Any]:
    """The content of diffusers' `vae/config.json`; the compute dtype is not part of it."""
    channels = 3 * config.patch**2
    return {
        "_class_name": "AutoencoderKLWan",
        "attn_scales": [],
        **{key: _plain(getattr(config, field)) for key, field in _CONFIG.items()},
        "dropout": 0.0,
        "in_channels": channels,
        "is_residual": config.residual,
        "out_channels": channels,
        "scale_factor_spatial": config.space_factor,
        "scale_factor_temporal": config.time_factor,
    }


def from_json(values: dict[str, Any]) -> VAEConfig:
    """Inverse of `to_json`.

    Raises:
      InputError: a key is missing or has a value that cannot be, or the file describes another VAE (for example that of
        Wan2.1).
    """
    if values.get("_class_name") != "AutoencoderKLWan" or not values.get("is_residual") or values.get("attn_scales"):
        raise InputError(
            "It does not describe a Wan2.2 VAE: accepted is _class_name AutoencoderKLWan with is_residual true and no "
            f"attn_scales, not {shown(values.get('_class_name'))} with {shown(values.get('is_residual'))} and "
            f"{shown(values.get('attn_scales'))}."
        )
    config = VAEConfig(**read_fields(VAEConfig, values, _CONFIG))
    whole = to_json(config)
    refuse_unknown(values, {*whole, *_UNUSED})
    for key in _FOLLOWING:
        if values.get(key) not in (None, whole[key]):
            raise InputError(f"Its {key} is {shown(values[key])}; by its other sizes it is {whole[key]}.")
    return config


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _parts(config: VAEConfig) -> Iterator[Part]:
    yield "quant", "quant_conv", "conv1", _point3d
    yield "post_quant", "post_quant_conv", "conv2", _point3d

    yield "encoder/conv_in", "encoder.conv_in", "encoder.conv1", _conv3d
    widths = [config.encoder_base * m for m in (1, *config.multipliers)]
    for s in range(len(config.multipliers)):
        ours, theirs = f"encoder/stages/{s}", _encoder_stage(config, s)
        for i in range(config.res_blocks):
            changes = i == 0 and widths[s] != widths[s + 1]
            yield from _residual(f"{ours}/blocks/{i}", *theirs[i], changes)
        if s < len(config.temporal_down):
            yield from _resample(f"{ours}/down", *theirs[-1], config.temporal_down[s])

    yield "decoder/conv_in", "decoder.conv_in", "decoder.conv1", _conv3d
    for s, (into, out) in enumerate(config.decoder_widths):
        ours, theirs = f"decoder/stages/{s}", _decoder_stage(config, s)
        for i in range(config.res_blocks + 1):
            yield from _residual(f"{ours}/blocks/{i}", *theirs[i], i == 0 and into != out)
        if s < len(config.temporal_down):
            yield from _resample(f"{ours}/up", *theirs[-1], config.temporal_down[-1 - s])

    for half in ("encoder", "decoder"):
        middle = f"{half}/middle", f"{half}.mid_block", f"{half}.middle"
        yield from _residual(f"{middle[0]}/before", f"{middle[1]}.resnets.0", f"{middle[2]}.0", False)
        attention = f"{middle[0]}/attention", f"{middle[1]}.attentions.0", f"{middle[2]}.1"
        yield f"{attention[0]}/norm", f"{attention[1]}.norm", f"{attention[2]}.norm", _gain2d
        yield f"{attention[0]}/to_qkv", f"{attention[1]}.to_qkv", f"{attention[2]}.to_qkv", _point2d
        yield f"{attention[0]}/proj", f"{attention[1]}.proj", f"{attention[2]}.proj", _point2d
        yield from _residual(f"{middle[0]}/after", f"{middle[1]}.resnets.1", f"{middle[2]}.2", False)
        yield f"{half}/norm_out", f"{half}.norm_out", f"{half}.head.0", _gain3d
        yield f"{half}/conv_out", f"{half}.conv_out", f"{half}.head.2", _conv3d


def _encoder_stage(config: VAEConfig, stage: int) -> list[tuple[str, str]]:
    """The names of a stage's blocks and of its halving, in diffusers and in the original."""
    count = config.res_blocks + 1
    if not config.residual:  # no stages, but one list
        return [
            (f"encoder.down_blocks.{n}", f"encoder.downsamples.{n}")
            for n in range(stage * count, stage * count + count)
        ]
    new, old = f"encoder.down_blocks.{stage}", f"encoder.downsamples.{stage}.downsamples"
    parts = [*(f"resnets.{i}" for i in range(config.res_blocks)), "downsampler"]
    return [(f"{new}.{part}", f"{old}.{i}") for i, part in enumerate(parts)]


def _decoder_stage(config: VAEConfig, stage: int) -> list[tuple[str, str]]:
    """The names of a stage's blocks and of its doubling, in diffusers and in the original."""
    parts = [f"resnets.{i}" for i in range(config.res_blocks + 1)]
    parts.append("upsampler" if config.residual else "upsamplers.0")
    first, old = (
        (0, f"decoder.upsamples.{stage}.upsamples") if config.residual else (stage * len(parts), "decoder.upsamples")
    )
    return [(f"decoder.up_blocks.{stage}.{part}", f"{old}.{first + i}") for i, part in enumerate(parts)]


def _residual(ours: str, new: str, old: str, changes_channels: bool) -> Iterator[Part]:
    yield f"{ours}/norm1", f"{new}.norm1", f"{old}.residual.0", _gain3d
    yield f"{ours}/conv1", f"{new}.conv1", f"{old}.residual.2", _conv3d
    yield f"{ours}/norm2", f"{new}.norm2", f"{old}.residual.3", _gain3d
    yield f"{ours}/conv2", f"{new}.conv2", f"{old}.residual.6", _conv3d
    if changes_channels:
        yield f"{ours}/shortcut", f"{new}.conv_shortcut", f"{old}.shortcut", _point3d


def _resample(ours: str, new: str, old: str, temporal: bool) -> Iterator[Part]:
    yield f"{ours}/spatial", f"{new}.resample.1", f"{old}.resample.1", _conv2d
    if temporal:
        yield f"{ours}/temporal", f"{new}.time_conv", f"{old}.time_conv", _conv3d


def _with_bias(transform: Transform) -> Callable[[str, str], list[Entry]]:
    return lambda theirs, ours: [
        Entry(f"{theirs}.weight", f"{ours}/kernel", transform),
        Entry(f"{theirs}.bias", f"{ours}/bias", IDENTITY),
    ]


def _gain(ones: int) -> Callable[[str, str], list[Entry]]:
    transform = _without_ones(1, ones)
    return lambda theirs, ours: [Entry(f"{theirs}.gamma", f"{ours}/scale", transform)]


def _without_ones(rank: int, ones: int) -> Transform:
    """Theirs has `ones` axes of size 1 after the first `rank`."""
    return Transform(lambda x: x.reshape(x.shape[:rank]), lambda x: x.reshape((*x.shape, *(1,) * ones)))


_conv3d = _with_bias(CONV3D)
_conv2d = _with_bias(CONV2D)
_point3d = _with_bias(chain(_without_ones(2, 3), LINEAR))  # a 1x1x1 convolution is a linear layer
_point2d = _with_bias(chain(_without_ones(2, 2), LINEAR))
_gain3d = _gain(3)
_gain2d = _gain(2)
