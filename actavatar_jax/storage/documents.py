"""Text and JSON files, in one form."""

import json
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage.writing import replaced_file


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `InputError` if the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"The file {path} is missing.") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; expected an object.")
    return value


def write_json(path: Path, value: Any) -> None:
    """Two spaces deep, keys in their order, UTF-8: as diffusers and transformers have theirs."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all; folders above are made."""
    with replaced_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
