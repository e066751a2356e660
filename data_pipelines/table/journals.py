"""Journals of a step: one file for each run and chunk, one line for each clip as it is done.

    <clip_dir>/.steps/<step>/<run>-<chunk>.jsonl     {"id", "row"} each

They are how results come back from workers, whatever runs them, and what a killed run goes on from.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import read_json_lines

Row = dict[str, Any]  # a clip's columns, without the step's prefix

LONGEST_ROW = 2**26  # bytes; a profile has a number for each frame
_NAME = re.compile(r"(\d{4,})-(\d{6,})\.jsonl")


@dataclass(frozen=True)
class Entry:
    """A line of a journal."""

    id: str
    row: Row


def journal_folder(clip_dir: Path, step: str) -> Path:
    return clip_dir / ".steps" / step


def journal_path(folder: Path, run: int, chunk: int) -> Path:
    return folder / f"{run:04d}-{chunk:06d}.jsonl"


def next_run(folder: Path) -> int:
    """The number of the run that begins now, above those of all killed ones."""
    return max((run + 1 for run, _, _ in _journals(folder)), default=0)


def write_row(journal: TextIO, clip_id: str, row: Row) -> None:
    """Adds a line at once. The break in front closes a line that a killed worker may have left unfinished."""
    journal.write("\n" + json.dumps({"id": clip_id, "row": row}, default=_to_plain) + "\n")
    journal.flush()


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of all journals, by id; of a clip that was measured in several runs the last.

    A line that a kill or a disk damaged costs its clip, which is measured again.
    """
    rows = {}
    for _, _, path in sorted(_journals(folder)):
        for _, entry in read_json_lines(path, Entry, limit=LONGEST_ROW, finite=False):
            if not isinstance(entry, InputError):
                rows[entry.id] = entry.row
    return rows


def _journals(folder: Path) -> Iterator[tuple[int, int, Path]]:
    for path in folder.glob("*.jsonl"):
        if found := _NAME.fullmatch(path.name):
            yield int(found[1]), int(found[2]), path


def _to_plain(value: Any) -> Any:
    """What JSON writes in the place of a NumPy number or array."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a step returned {type(value).__name__}; accepted are numbers, texts, lists and dicts of them")
