"""Text and JSON files, in one form, whole or not at all."""

import json
from typing import Any

from actavatar_jax.storage.places import Place
from actavatar_jax.storage.writing import replaced_file


def write_json(path: str | Place, value: Any) -> None:
    """Two spaces deep, keys in their order, UTF-8: as diffusers and transformers have theirs."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: str | Place, text: str) -> None:
    """UTF-8; folders above are made."""
    with replaced_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
