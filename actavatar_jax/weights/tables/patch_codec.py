"""`PatchCodec` has no other layout: its tensors are stored under our own names."""

import dataclasses
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models import functional
from actavatar_jax.models.patch_codec import PatchCodec, PatchCodecConfig
from actavatar_jax.weights.names import Entry, Table


def ours(config: PatchCodecConfig) -> Table:
    flat = functional.flatten(functional.abstract(PatchCodec, config))
    return tuple(Entry(name.replace("/", "."), name) for name in flat)


def to_json(config: PatchCodecConfig) -> dict[str, Any]:
    return {"_class_name": "PatchCodec"} | dataclasses.asdict(config) | {"places": list(config.places)}


def from_json(values: dict[str, Any]) -> PatchCodecConfig:
    """Inverse of `to_json`; `InputError` for values that are missing or of the wrong kind."""
    channels, places, differences = values.get("channels"), values.get("places", [1, 1]), values.get("differences")
    if not isinstance(channels, int):
        raise InputError(f"the PatchCodec's config.json needs a whole number of channels, got {channels}.")
    if not (isinstance(places, list) and len(places) == 2 and all(isinstance(n, int) and n > 0 for n in places)):
        raise InputError(f"the PatchCodec's config.json needs two positive numbers of places, got {places}.")
    return PatchCodecConfig(channels, (places[0], places[1]), bool(differences))
