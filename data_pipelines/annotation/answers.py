"""Every raw answer, kept in one file per clip, so that no question is paid for twice.

    <clip_dir>/answers/<id>.jsonl     {"key", "prompt_version", "server", "seed", "text", "finish", "model", ...} each

Everything after an answer is arithmetic, so a killed run goes on, and changed checks are applied, from these files.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from actavatar_jax.chat import Answer, Usage
from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, StorePath, read_json_lines, read_text, write_text
from data_pipelines.table import Skip


@dataclass(frozen=True)
class _Kept:
    """A line of the file."""

    key: str
    text: str
    finish: str
    model: str
    fingerprint: str | None = None
    usage: Usage = field(default_factory=Usage)  # of answers that earlier versions kept nothing is known


class AnswerStore:
    """The answers about one clip, by what was asked. Raises Skip where they cannot be read."""

    def __init__(self, path: Place):
        self.path = path
        self._known: dict[str, Answer] = {}
        try:
            for _, kept in read_json_lines(path, _Kept) if path.exists() else ():
                if not isinstance(kept, InputError):  # cut by a kill: that question is asked again
                    self._known[kept.key] = Answer(kept.text, kept.finish, kept.model, kept.fingerprint, kept.usage)
        except InputError as error:
            raise Skip("unreadable", str(error)) from error

    def get(self, key: str) -> Answer | None:
        return self._known.get(key)

    def add(self, key: str, answer: Answer, asked: Mapping[str, Any]) -> None:
        """Keeps an answer; `asked`: under what circumstances it was given."""
        # The line break in front closes a line that a killed process may have left unfinished.
        line = "\n" + json.dumps({"key": key, **asked, **asdict(answer)}) + "\n"
        if isinstance(self.path, StorePath):  # where nothing is appended
            write_text(self.path, (read_text(self.path) if self._known else "") + line)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        self._known[key] = answer
