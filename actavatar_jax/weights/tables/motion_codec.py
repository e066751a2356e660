"""`MotionCodec` has no other layout: its tensors are stored under our own names."""

import dataclasses
from typing import Any

from actavatar_jax import functional
from actavatar_jax.checks import typed
from actavatar_jax.models.motion import MotionCodec, MotionCodecConfig, MotionDecoderConfig
from actavatar_jax.weights.names import Entry, Table
from actavatar_jax.weights.tables.fields import own_keys, read_fields, refuse_unknown


def ours(config: MotionCodecConfig) -> Table:
    flat = functional.flatten(functional.abstract(MotionCodec, config))
    return tuple(Entry(name.replace("/", "."), name) for name in flat)


def to_json(config: MotionCodecConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    for part in (values, values["decoder"]):
        part |= {name: list(value) for name, value in part.items() if isinstance(value, tuple)}
    return {"_class_name": "MotionCodec"} | values


def from_json(values: dict[str, Any]) -> MotionCodecConfig:
    """Inverse of `to_json`; InputError for keys that are missing or unknown and for values that cannot be."""
    keys, decoder_keys = own_keys(MotionCodecConfig), own_keys(MotionDecoderConfig)
    refuse_unknown(values, keys)
    decoder = typed("decoder", values.get("decoder"), dict)
    refuse_unknown(decoder, decoder_keys, " under decoder")
    decoder = MotionDecoderConfig(**read_fields(MotionDecoderConfig, decoder, decoder_keys))
    return MotionCodecConfig(**read_fields(MotionCodecConfig, {**values, "decoder": decoder}, keys))
