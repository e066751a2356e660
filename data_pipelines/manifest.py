"""The manifest of a clip folder: one JSON line per source video, also for those that were skipped."""

import dataclasses
import json
from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.files import write_text


@dataclasses.dataclass(frozen=True)
class Row:
    """One source video. Height, width (pixels), frames and seconds are those of the clip, 0 where there is none."""

    id: str
    source: str  # path relative to the video folder
    version: str  # names the contents of the source and of the prompt beside it
    status: str  # 'ok' | 'skipped'
    reason: str = ""
    detail: str = ""
    caption: str = "none"  # 'structured' | 'brief' | 'none'
    height: int = 0
    width: int = 0
    frames: int = 0
    seconds: float = 0.0
    bucket: str = ""  # nearest size of the default table, for orientation: `encode` chooses by its own list


class Manifest:
    """Rows by source. Rows added during a run go to a journal at once, so that a killed run loses nothing.

    clip_dir/manifest.jsonl appears, sorted by source, only when a run is complete (`finish`).
    """

    def __init__(self, clip_dir: Path):
        self.path = clip_dir / "manifest.jsonl"
        self.journal = clip_dir / ".manifest.journal"
        self.rows = {row.source: row for row in _read(self.path) + _read(self.journal, torn=True)}

    def add(self, row: Row) -> None:
        self.rows[row.source] = row
        with self.journal.open("a", encoding="utf-8") as file:
            # The line break in front closes a line that an earlier run may have left unfinished.
            file.write("\n" + _line(row) + "\n")

    def finish(self, sources: list[str]) -> None:
        """Writes the manifest with the rows of `sources` only."""
        write_text(self.path, "".join(_line(self.rows[source]) + "\n" for source in sorted(sources)))
        self.journal.unlink(missing_ok=True)


def read_manifest(clip_dir: Path) -> list[Row]:
    """All rows of a finished clip folder, sorted by source."""
    path = clip_dir / "manifest.jsonl"
    if not path.is_file():
        raise InputError(f"{clip_dir}: no manifest.jsonl here; make the clip folder with `prepare`, to its end")
    return _read(path)


def _read(path: Path, torn: bool = False) -> list[Row]:
    """Rows of a file that may be missing; `torn`: lines cut by a kill are left out, so those videos are done again."""
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []:
        try:
            if line:
                rows.append(Row(**json.loads(line)))
        except (json.JSONDecodeError, TypeError) as error:
            if not torn:
                raise InputError(
                    f"{path}: not a manifest of this version; delete it and run `prepare` again"
                ) from error
    return rows


def _line(row: Row) -> str:
    return json.dumps(dataclasses.asdict(row), ensure_ascii=False)
