"""`PatchCodec` has no other layout: its tensors are stored under our own names."""

import dataclasses
from typing import Any

from actavatar_jax import functional
from actavatar_jax.checks import typed
from actavatar_jax.models import FrameDecoderConfig, PatchCodec, PatchCodecConfig
from actavatar_jax.weights.names import Entry, Table
from actavatar_jax.weights.tables.fields import own_keys, read_fields, refuse_unknown


def ours(config: PatchCodecConfig) -> Table:
    flat = functional.flatten(functional.abstract(PatchCodec, config))
    return tuple(Entry(name.replace("/", "."), name) for name in flat)


def to_json(config: PatchCodecConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config) | {"places": list(config.places)}
    if config.decoder:
        values["decoder"] |= {"widths": list(config.decoder.widths)}
    return {"_class_name": "PatchCodec"} | values


def from_json(values: dict[str, Any]) -> PatchCodecConfig:
    """Inverse of `to_json`; InputError for keys that are missing or unknown and for values that cannot be."""
    keys = own_keys(PatchCodecConfig)
    refuse_unknown(values, keys)
    decoder = values.get("decoder")
    if decoder is not None:
        decoder = _decoder(typed("decoder", decoder, dict))
    older = keys.keys() - {"channels"}  # folders of older versions have not all of them
    return PatchCodecConfig(**read_fields(PatchCodecConfig, {**values, "decoder": decoder}, keys, older))


def _decoder(values: dict[str, Any]) -> FrameDecoderConfig:
    """The learned decoder's config, from what `dataclasses.asdict` made of it."""
    keys = own_keys(FrameDecoderConfig)
    refuse_unknown(values, keys, " under decoder")
    return FrameDecoderConfig(**read_fields(FrameDecoderConfig, values, keys))
