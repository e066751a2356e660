"""Results that are kept: nothing is found out about a clip again while what it stands on is the same."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError, Skip
from actavatar_jax.storage import read_json, write_json

Found = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """A folder with one small JSON file for each result, named by a digest of what it stands on."""

    folder: Path

    def get(self, *parts: Any) -> Found | None:
        """What was kept under these parts, values of JSON; None where there is nothing that can be read."""
        path = self._path(parts)
        try:
            return read_json(path) if path.is_file() else None
        except InputError:  # damaged: it is found out anew
            return None

    def put(self, found: Found, *parts: Any) -> None:
        write_json(self._path(parts), found)

    def find(self, find: Callable[[], Found], *parts: Any) -> Found:
        """What `find` gives, or gave. A reason that it raises as Skip is kept and raised again."""
        found = self.get(*parts)
        if found is None:
            try:
                found = {"found": find()}
            except Skip as skip:
                found = {"reason": skip.reason, "detail": skip.detail}
            self.put(found, *parts)
        if "found" not in found:
            raise Skip(found["reason"], found["detail"])
        return found["found"]

    def _path(self, parts: tuple) -> Path:
        return self.folder / f"{digest_text(json.dumps(parts))}.json"


def digest_file(path: Path) -> str:
    """Of the contents. OSError where they cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def digest_if_there(path: Path) -> str | None:
    """None where there is no file: whoever reads it says so."""
    return digest_file(path) if path.is_file() else None


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
