"""Fields of a network's config as a `config.json` has them, each checked under the key that it has there."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from actavatar_jax.checks import checked
from actavatar_jax.errors import InputError
from actavatar_jax.storage import first_of


def read_fields(
    kind: type, values: Mapping[str, Any], keys: Mapping[str, str], optional: Collection[str] = ()
) -> dict[str, Any]:
    """`{field: value}` of a config of `kind`, a dataclass with `LIMITS`.

    Args:
      kind: the dataclass.
      values: the content of the file.
      keys: key in the file -> field.
      optional: keys that may be absent; their fields then are too.

    Raises:
      InputError: a key is missing, or its value has another type or lies beyond the field's limit.
    """
    if missing := sorted(keys.keys() - values.keys() - {*optional}):
        raise InputError(f"It lacks {first_of(missing)}.")
    forms = {field.name: field.type for field in dataclasses.fields(kind)}
    return {
        field: checked(key, values[key], forms[field], kind.LIMITS.get(field))
        for key, field in keys.items()
        if key in values
    }


def own_keys(kind: type) -> dict[str, str]:
    """`keys` of `read_fields` where a file has the fields under their own names."""
    return {field.name: field.name for field in dataclasses.fields(kind)}


def refuse_unknown(values: Mapping[str, Any], known: Collection[str], where: str = "") -> None:
    """InputError for keys that are not `known`: what they mean for the network cannot be told.

    Keys that begin with an underscore are diffusers' own.
    """
    if unknown := sorted(key for key in values.keys() - {*known} if not key.startswith("_")):
        raise InputError(f"It has keys{where} that are not known here: {first_of(unknown)}.")
