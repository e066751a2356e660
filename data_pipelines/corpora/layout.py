"""What all readers need: videos on disk, and values that are what a layout promises."""

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import Place, StorePath, shown
from data_pipelines.table import ID_PATTERN, StepReport, digest


def find_videos(folder: Place, report: StepReport) -> Iterator[Place]:
    """All videos in a folder and below it, sorted; hidden files, such as unfinished downloads, are passed over.

    The report gets what looks like a video and is none: links that lead nowhere, names that are not UTF-8, folders that
    cannot be read.
    """
    if isinstance(folder, StorePath):
        yield from (path for path in folder.rglob("[!.]*") if path.suffix.lower() in VIDEO_SUFFIXES)
        return

    def unreadable(error: OSError) -> None:
        report.add(str(error.filename), "skipped", "unreadable", f"{error.filename}: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix.lower() not in VIDEO_SUFFIXES or name.startswith("."):
                continue
            if printable(str(path)) != str(path):
                report.add(str(path), "skipped", "odd name", f"{path}: the name is not UTF-8; rename it")
            elif path.is_file():
                yield path
            else:
                report.add(str(path), "skipped", "unreadable", f"{path}: no file, or a link that leads nowhere")


def index_videos(folder: Place, report: StepReport) -> dict[str, Place]:
    """The videos below a folder by their names without suffix, the first of equals; the report as `find_videos`."""
    found: dict[str, Place] = {}
    for path in find_videos(folder, report):
        found.setdefault(path.stem, path)
    return found


def make_clip_id(name: str) -> str:
    """A clip id of any path or key: its last part, and digits that keep equal names in different places apart."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem)[:60]
    return f"{stem}-{digest(name)[:10]}"


def check_clip_id(value: str, place: str) -> str:
    """An id of the corpus's own. Raises InputError where it is no file name."""
    if not re.fullmatch(ID_PATTERN, value) or len(value) > 200:
        raise InputError(
            f"{place}: the id {shown(value)} is no file name; up to 200 letters, digits, '_' and '-' are expected"
        )
    return value


def printable(text: str) -> str:
    """A name from a disk or an archive, of which bytes that are not UTF-8 are written out."""
    return text.encode("utf-8", "backslashreplace").decode()


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
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{place}: key '{key}' is {_found(record, key)}; a number is expected")
    return number


def _found(record: Mapping[str, Any], key: str) -> str:
    return shown(record[key]) if key in record else f"missing (there are {', '.join(map(str, record))})"
