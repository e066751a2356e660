"""Every raw answer, kept in one file per clip, so that no question is paid for twice.

    <clip_dir>/answers/<id>.jsonl     {"key", "prompt_version", "server", "seed", "text", "finish", "model", ...} each

Everything after an answer is arithmetic, so a killed run goes on, and changed checks are applied, from these files.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from data_pipelines.annotation.client import Answer

_FIELDS = [field.name for field in fields(Answer)]


class AnswerStore:
    """The answers about one clip, by what was asked."""

    def __init__(self, path: Path):
        self.path = path
        self._known = {}
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.split("\n"):
            try:
                row = json.loads(line) if line else {}
            except json.JSONDecodeError:
                continue  # cut by a kill: that question is asked again
            if row:
                self._known[row["key"]] = Answer(**{name: row[name] for name in _FIELDS})

    def get(self, key: str) -> Answer | None:
        return self._known.get(key)

    def add(self, key: str, answer: Answer, asked: Mapping[str, Any]) -> None:
        """Keeps an answer; `asked`: under what circumstances it was given."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            # The line break in front closes a line that a killed process may have left unfinished.
            file.write("\n" + json.dumps({"key": key, **asked, **asdict(answer)}) + "\n")
        self._known[key] = answer
