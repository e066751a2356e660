"""What all readers need: videos on disk, text files, and values that are what a layout promises."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.table import ID_PATTERN, Skip, digest

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi")


def find_videos(folder: Path) -> Iterator[Path]:
    """All videos in a folder and below it, sorted; hidden files, such as unfinished downloads, are passed over."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def index_videos(folder: Path) -> dict[str, Path]:
    """The videos below a folder by their names without suffix, the first of equals."""
    found: dict[str, Path] = {}
    for path in find_videos(folder):
        found.setdefault(path.stem, path)
    return found


def make_clip_id(name: str) -> str:
    """A clip id of any path or key: its last part, and digits that keep equal names in different places apart."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem)[:60]
    return f"{stem}-{digest(name)[:10]}"


def check_clip_id(value: str, place: str) -> str:
    """An id of the corpus's own. Raises InputError where it is no file name."""
    if not re.fullmatch(ID_PATTERN, value):
        raise InputError(f"{place}: the id '{value}' is no file name; letters, digits, '_' and '-' are expected")
    return value


def read_json(path: Path) -> Any:
    """The contents of a JSON file. Raises Skip as `parse_json` does."""
    return parse_json(path.read_bytes(), str(path))


def parse_json(content: bytes, place: str) -> Any:
    """What the bytes hold. Raises Skip where they are not JSON in UTF-8: damage of one file, not another layout."""
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Skip("damaged annotation", f"{place}: not JSON in UTF-8 ({error})") from error


def get_text(record: Mapping[str, Any], key: str, place: str) -> str:
    """The text under a key. Raises InputError, which names place and key, where it is missing or something else."""
    value = record.get(key)
    if not isinstance(value, str):
        raise InputError(f"{place}: key '{key}' is {_found(record, key)}; a text is expected")
    return value


def get_number(record: Mapping[str, Any], key: str, place: str) -> float:
    """The finite number under a key, also where it is written as a text. Raises InputError as `get_text` does."""
    value = record.get(key)
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: key '{key}' is {_found(record, key)}; a number is expected")
    return number


def _found(record: Mapping[str, Any], key: str) -> str:
    return repr(record[key])[:60] if key in record else f"missing (there are {', '.join(map(str, record))})"
