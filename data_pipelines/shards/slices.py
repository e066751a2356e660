"""What each process of an encoding has done, one file each; the last step of the encoding needs them all.

<shard_dir>/.staged/slice-2-of-4.json
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, read_json, write_json
from data_pipelines.shards.buckets import Bucket

LARGEST_SLICE = 2**30  # bytes; some two hundred for each clip


@dataclass(frozen=True)
class ClipOutcome:
    """What became of one clip; a clip with records has a bucket and a key (see `DatasetEntry`)."""

    clip: str
    status: str
    reason: str = ""
    detail: str = ""
    bucket: Bucket | None = None
    key: str = ""
    enlargement: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # that reading, encoding and waiting took; `made` ones


@dataclass(frozen=True)
class _Identity:
    """What the processes of one encoding have in common."""

    manifest: str
    settings: dict[str, Any]
    count: int


@dataclass(frozen=True)
class _Slice:
    """What the file of one process holds."""

    run: _Identity
    clips: list[ClipOutcome]
    empty_prompt: dict[str, Any]


@dataclass(frozen=True)
class EncodingRun:
    """One encoding, `count` processes with the same settings over the same clips (`manifest` names what is used)."""

    shard_dir: Place
    manifest: str
    settings: dict[str, Any]
    count: int

    def begin_slice(self, index: int) -> None:
        """Removes what another run left, and what this process itself had finished before it began again."""
        for path in _paths(self.shard_dir):
            if path == self._path(index) or self._is_of_another(path):
                path.unlink(missing_ok=True)

    def save_slice(self, index: int, clips: list[ClipOutcome], empty_prompt: dict[str, Any]) -> None:
        rows = [dataclasses.asdict(done) for done in clips]
        run = dataclasses.asdict(self._identity())
        write_json(self._path(index), {"run": run, "clips": rows, "empty_prompt": empty_prompt})

    def is_complete(self) -> bool:
        """Whether all processes are done."""
        paths = [self._path(index) for index in range(self.count)]
        return all(path.is_file() and not self._is_of_another(path) for path in paths)

    @classmethod
    def load(
        cls, shard_dir: Place, find_manifest: Callable[[dict[str, Any]], str]
    ) -> tuple["EncodingRun", list[ClipOutcome], dict[str, Any]]:
        """The run whose processes are all done, what became of its clips by id, and the empty prompt.

        `find_manifest`: of the settings, what names the clips now. Raises InputError, which names them, where processes
        have not finished or used other clips.
        """
        stored = [_read(path) for path in _paths(shard_dir)]
        if not stored:
            raise InputError(f"{shard_dir}: nothing to commit; run `encode` for every slice first")
        run = cls(shard_dir, **vars(stored[0].run))
        missing = [f"{i}/{run.count}" for i in range(run.count) if not run._path(i).is_file()]
        if missing:
            raise InputError(
                f"{shard_dir}: not to be committed before `encode --process` {', '.join(missing)} has ended"
            )
        if run.manifest != find_manifest(run.settings):
            raise InputError(f"{shard_dir}: the manifest has changed since the clips were encoded; run `encode` again")
        clips = [clip for part in stored for clip in part.clips]
        return run, sorted(clips, key=lambda done: done.clip), stored[0].empty_prompt

    def _is_of_another(self, path: Place) -> bool:
        try:
            return _read(path).run != self._identity()
        except InputError:  # it is damaged, so that slice has to be encoded again
            return True

    def _identity(self) -> _Identity:
        return _Identity(self.manifest, self.settings, self.count)

    def _path(self, index: int) -> Place:
        return self.shard_dir / ".staged" / f"slice-{index}-of-{self.count}.json"


def _read(path: Place) -> _Slice:
    return read_json(path, _Slice, limit=LARGEST_SLICE)


def _paths(shard_dir: Place) -> list[Place]:
    return sorted((shard_dir / ".staged").glob("slice-*.json"))
