"""`PatchCodec` has no other layout: its tensors are stored under our own names."""

import dataclasses
from typing import Any

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import FrameDecoderConfig, PatchCodec, PatchCodecConfig
from actavatar_jax.weights.names import Entry, Table


def ours(config: PatchCodecConfig) -> Table:
    flat = functional.flatten(functional.abstract(PatchCodec, config))
    return tuple(Entry(name.replace("/", "."), name) for name in flat)


def to_json(config: PatchCodecConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config) | {"places": list(config.places)}
    if config.decoder:
        values["decoder"] |= {"widths": list(config.decoder.widths)}
    return {"_class_name": "PatchCodec"} | values


def from_json(values: dict[str, Any]) -> PatchCodecConfig:
    """Inverse of `to_json`; `InputError` for values that are missing or of the wrong kind."""
    channels, places, decoder = values.get("channels"), values.get("places", [1, 1]), values.get("decoder")
    patch, reduce = values.get("patch", 16), values.get("reduce", 1)  # older folders have these two
    if not isinstance(channels, int):
        raise InputError(f"the PatchCodec's config.json needs a whole number of channels, got {channels}.")
    if not (isinstance(places, list) and len(places) == 2 and all(map(_positive, places))):
        raise InputError(f"the PatchCodec's config.json needs two positive numbers of places, got {places}.")
    if not (_positive(patch) and _positive(reduce)):
        raise InputError(f"the PatchCodec's config.json needs positive patch and reduce, got {patch} and {reduce}.")
    differences, drawing = bool(values.get("differences")), decoder and _decoder(decoder)
    return PatchCodecConfig(channels, (places[0], places[1]), differences, patch, reduce, drawing)


def _decoder(values: Any) -> FrameDecoderConfig:
    """The learned decoder's config, from what `dataclasses.asdict` made of it."""
    known = values if isinstance(values, dict) else {}
    widths, warps, shuffle = known.get("widths"), known.get("warps"), known.get("shuffle")
    if not (isinstance(widths, list) and all(map(_positive, [*widths, warps, shuffle]))):
        raise InputError(
            "the decoder in the PatchCodec's config.json needs widths, warps and shuffle in positive numbers, got "
            f"{values}."
        )
    return FrameDecoderConfig(tuple(widths), warps, shuffle)


def _positive(number: Any) -> bool:
    return isinstance(number, int) and number > 0
