"""Journals of a step: one file for each run of a process and each of its workers, two lines for each clip.

    <folder>/<run>-<worker>.jsonl     {"id"} as a clip is begun, {"id", "row"} as it is done

They are how results come back from workers, whatever runs them, and what a killed run goes on from. Those of a folder
on an object store are written in the scratch folder of each machine, and put up as they are (`Journal.put_up`).
"""

import json
import math
import os
import platform
import re
import shutil
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, StorePath, read_json_lines, replaced_file, scratch_of

Row = dict[str, Any]  # a clip's columns, without the step's prefix

LONGEST_ROW = 2**26  # bytes; a profile has a number for each frame
_NAME = re.compile(r"(\d{4,})-[0-9a-z-]+\.jsonl")
_put_up: dict["Journal", float] = {}  # when this process has put up what
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


@dataclass(frozen=True)
class Entry:
    """A line of a journal; one without a row says that the clip was begun."""

    id: str
    row: Row | None = None


@dataclass(frozen=True)
class Journal:
    """What one run writes to, each of its workers to a file of its own."""

    folder: Place
    run: int

    @classmethod
    def begin(cls, folder: Place) -> "Journal":
        """The journal of the run that begins now, with a number above those of all killed ones.

        Of a folder on a store, what is not up is gone: others may have gone on from what is.
        """
        if isinstance(folder, StorePath):
            for path in scratch_of(folder).glob("*.jsonl"):
                path.unlink()
        return cls(folder, max((run + 1 for run, _ in _journals([folder])), default=0))

    def add(self, clip_id: str, row: Row | None = None) -> None:
        """Adds a line at once. The break in front closes a line that a killed worker may have left unfinished."""
        line = {"id": clip_id} | ({} if row is None else {"row": row})
        text = "\n" + json.dumps(line, default=_to_plain) + "\n"
        with self.path().open("a", encoding="utf-8") as file:
            file.write(text)

    def put_up(self, pause: float = 0.0) -> None:
        """Has on the store what this machine has written, unless that was done within the last `pause` seconds."""
        if not isinstance(self.folder, StorePath) or time.monotonic() < _put_up.get(self, -math.inf) + pause:
            return
        for path in scratch_of(self.folder).glob(f"{self.run:04d}-*.jsonl"):
            with replaced_file(self.folder / path.name) as copy:  # what is put up must not grow meanwhile
                shutil.copyfile(path, copy)
        _put_up[self] = time.monotonic()

    def rows(self) -> Iterator[Entry]:
        """What this run has written, and put up."""
        for path in sorted(self.folder.glob(f"{self.run:04d}-*.jsonl")):
            yield from (entry for entry in read_entries(path) if entry.row is not None)

    def path(self) -> Path:
        """The file of this process; in a pool of several machines, of this process on this machine."""
        return scratch_of(self.folder) / f"{self.run:04d}-{_HOST}-{os.getpid()}.jsonl"


def read_rows(folders: Iterable[Place]) -> Iterator[Entry]:
    """The rows in the journals of these folders, those of later runs later.

    A line that a kill or a disk damaged costs its clip, which is measured again.
    """
    for _, path in sorted(_journals(folders)):
        yield from (entry for entry in read_entries(path) if entry.row is not None)


def count_begun(paths: Iterable[Place]) -> Counter[str]:
    """How often each clip was begun since it last had a row, and there is none of it."""
    begun: Counter[str] = Counter()
    for path in paths:
        for entry in read_entries(path):
            if entry.row is None:
                begun[entry.id] += 1
            else:
                begun.pop(entry.id, None)
    return begun


def list_journals(folder: Place) -> list[Place]:
    return [path for _, path in sorted(_journals([folder]))]


def read_entries(path: Place) -> Iterator[Entry]:
    for _, entry in read_json_lines(path, Entry, limit=LONGEST_ROW, finite=False):
        if not isinstance(entry, InputError):
            yield entry


def _journals(folders: Iterable[Place]) -> Iterator[tuple[int, Place]]:
    for folder in folders:
        for path in folder.glob("*.jsonl"):
            if found := _NAME.fullmatch(path.name):
                yield int(found[1]), path


def _to_plain(value: Any) -> Any:
    """What JSON writes in the place of a NumPy number or array."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a step returned {type(value).__name__}; accepted are numbers, texts, lists and dicts of them")
