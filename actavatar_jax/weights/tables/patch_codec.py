"""`PatchCodec` has no other layout: its tensors are stored under our own names."""

from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.models import functional
from actavatar_jax.models.patch_codec import PatchCodec, PatchCodecConfig
from actavatar_jax.weights.names import Entry, Table


def ours(config: PatchCodecConfig) -> Table:
    flat = functional.flatten(functional.abstract(PatchCodec, config))
    return tuple(Entry(name.replace("/", "."), name) for name in flat)


def to_json(config: PatchCodecConfig) -> dict[str, Any]:
    return {"_class_name": "PatchCodec", "channels": config.channels}


def from_json(values: dict[str, Any]) -> PatchCodecConfig:
    """Inverse of `to_json`; `InputError` without the number of channels."""
    if not isinstance(values.get("channels"), int):
        raise InputError(
            f"the PatchCodec's config.json needs a whole number of channels, got {values.get('channels')}."
        )
    return PatchCodecConfig(channels=values["channels"])
