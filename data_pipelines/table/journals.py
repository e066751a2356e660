"""Journals of a step: one file for each run and chunk, one line for each clip as it is done.

    <clip_dir>/.steps/<step>/<run>-<chunk>.jsonl     {"id", "row"} each

They are how results come back from workers, whatever runs them, and what a killed run goes on from.
"""

import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Row = dict[str, Any]  # a clip's columns, without the step's prefix


def journal_folder(clip_dir: Path, step: str) -> Path:
    return clip_dir / ".steps" / step


def journal_path(folder: Path, run: int, chunk: int) -> Path:
    return folder / f"{run:04d}-{chunk:06d}.jsonl"


def next_run(folder: Path) -> int:
    """The number of the run that begins now, above those of all killed ones."""
    return max((int(path.name.split("-")[0]) + 1 for path in folder.glob("*.jsonl")), default=0)


def write_row(journal: TextIO, clip_id: str, row: Row) -> None:
    """Adds a line at once. The break in front closes a line that a killed worker may have left unfinished."""
    journal.write("\n" + json.dumps({"id": clip_id, "row": row}, default=_to_plain) + "\n")
    journal.flush()


def read_rows(folder: Path) -> dict[str, Row]:
    """The rows of all journals, by id; of a clip that was measured in several runs the last."""
    rows = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line) if line else None
            except json.JSONDecodeError:
                continue  # cut by a kill: that clip is measured again
            if entry:
                rows[entry["id"]] = entry["row"]
    return rows


def _to_plain(value: Any) -> Any:
    """What JSON writes in the place of a NumPy number or array."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a step returned {type(value).__name__}; accepted are numbers, texts, lists and dicts of them")
