"""One process's part of a step: `I/N` of the clips. The process that ends last puts the parts together.

    <clip_dir>/.steps/<step>/3-of-64/     journals of its runs, and `done.json` once it has come to its end

A step that is not shared is part 0 of 1. Parts share the step among them; a whole run excludes every other one. On an
object store, where locks hold on one machine only, that is up to whoever starts them; but of two machines whose parts
end at the same moment both may put all together, as they do the same.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, locked_folder, read_json, remove_folder, write_json
from data_pipelines.table.journals import Journal

Process = tuple[int, int]  # its number from 0 on, and how many there are
T = TypeVar("T")


def check_process(process: Process | None) -> Process:
    """(index, count), of which the default is all. Raises InputError for one that is none."""
    index, count = process or (0, 1)
    if not 0 <= index < count:
        raise InputError(f"process {index}/{count}: accepted are 0/{count} to {count - 1}/{count}")
    return index, count


@dataclass(frozen=True)
class _Done:
    """What `done.json` holds: parts belong together that say the same."""

    identity: str


@dataclass(frozen=True)
class Part:
    """A process's part of a step over a clip folder; `identity` names what all parts have in common."""

    folder: Place  # of the step
    index: int
    count: int
    identity: str

    @classmethod
    def of_step(cls, clip_dir: Place, step: str, process: Process | None, identity: str) -> "Part":
        return cls(clip_dir / ".steps" / step, *check_process(process), identity)

    @property
    def own(self) -> Place:
        return self._of(self.index)

    def folders(self) -> list[Place]:
        """Those of all parts, of this division of the clips and of others that a kill left."""
        return [path for path in sorted(self.folder.glob("*-of-*")) if path.is_dir()]

    @contextlib.contextmanager
    def begun(self) -> Iterator[Journal]:
        """The journal of a run that begins now; nobody else does this part meanwhile. InputError if somebody does."""
        self.own.mkdir(parents=True, exist_ok=True)
        with locked_folder(self.folder, shared=self.count > 1), locked_folder(self.own):
            (self.own / "done.json").unlink(missing_ok=True)
            journal = Journal.begin(self.own)
            try:
                yield journal
            finally:
                journal.put_up()
            write_json(self.own / "done.json", {"identity": self.identity})

    def merge(self, gather: Callable[[list[Place]], T], save: Callable[[T], None]) -> T | None:
        """What `gather` makes of the folders of all parts, once it is saved; None if some are to come.

        The folders are removed then: first what says that they are done, so that who finds that behind a `gather` has
        seen all of them.
        """
        if not self._all_done():
            return None
        with locked_folder(self.folder, wait=True):  # parts that have just ended are about to let it go
            if not self._all_done():  # another one was faster
                return None
            folders = self.folders()
            try:
                made = gather(folders)
            except InputError:
                if self._all_done():
                    raise
            if not self._all_done():  # one of another machine was
                return None
            save(made)
            for folder in folders:
                (folder / "done.json").unlink(missing_ok=True)
            for folder in folders:
                remove_folder(folder)
        return made

    def _all_done(self) -> bool:
        return all(_identity(self._of(index) / "done.json") == self.identity for index in range(self.count))

    def _of(self, index: int) -> Place:
        return self.folder / f"{index}-of-{self.count}"


def _identity(path: Place) -> str | None:
    try:
        return read_json(path, _Done).identity
    except InputError:  # it is not there, or damaged, so that part has to be done again
        return None
