"""In a worker: one clip to its row in the journal, whatever happens on the way."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from actavatar_jax.errors import InputError, Skip, StoreError, first_line, out_of_space
from actavatar_jax.storage import Place
from data_pipelines.table.clip_files import clip_state
from data_pipelines.table.files import digest
from data_pipelines.table.journals import Journal, Row
from data_pipelines.table.report import CRASHED, STORE_FAILED, TIMED_OUT, UNEXPECTED
from data_pipelines.table.table import Clip, clips_of

FATAL = "fatal"  # column of tasks
Failure = str  # a sentence
SAID = {
    CRASHED: "the process that measured it died, twice",
    TIMED_OUT: "it took longer than a clip may, twice",
}


def keep_row(clip: Clip, clip_dir: Place, row: Row) -> bool:
    """What a step does that has no reason to measure a clip again whose version is the same."""
    return True


@dataclass(frozen=True)
class Step:
    """One measurement of every clip. All parts must be picklable: module-level functions, frozen dataclasses."""

    name: str  # prefix of its columns
    measure: Callable[[Clip, Place], Row]  # (clip, clip folder) -> columns without prefix; raises Skip or InputError
    version: str = "1"  # of the way of measuring, with options and model digests: another one measures again
    state: Callable[[Clip, Place], str] = clip_state  # names the contents of the files that are measured
    holds: Callable[[Clip, Place, Row], bool] = keep_row  # whether a row of the same version still says what is
    limits: str = ""  # names what `holds` goes by


@dataclass(frozen=True)
class Task:
    """A clip to be measured; `fatal`: what became of all workers that tried, which is all that there is to say."""

    clip: Clip
    fatal: str | None = None  # CRASHED or TIMED_OUT


def find_failure(clip_id: str, row: Row) -> Failure | None:
    """What a row says that a step has no reason of its own for."""
    return f"{clip_id}: {row['error']}, {row['detail']}" if row["error"] in (*SAID, STORE_FAILED, UNEXPECTED) else None


def tasks_of(work: pa.Table) -> Iterator[Task]:
    """The rows of a table of clips with the column FATAL."""
    for clip in clips_of(work):
        yield Task(
            dataclasses.replace(clip, facts={n: v for n, v in clip.facts.items() if n != FATAL}), clip.facts[FATAL]
        )


@dataclass(frozen=True)
class Measuring:
    """Measures clips of one run."""

    step: Step
    clip_dir: Place
    journal: Journal
    retry: bool = False  # measures again what earlier runs gave up

    def __call__(self, task: Task) -> Failure | None:
        """Journals the row of a clip, unless what is known of it still holds; what was unexpected of it."""
        row = self._row(task, partial(self.journal.add, task.clip.id))
        if row is None:
            return None
        try:
            self.journal.add(task.clip.id, row)
        except (TypeError, ValueError, RecursionError) as error:  # a value that is none of JSON's
            row = _unexpected(error)
            self.journal.add(task.clip.id, row)
        return find_failure(task.clip.id, row)

    def give_up(self, task: Task, how: str) -> Failure:
        """Journals that a clip cannot even be looked at."""
        row = {"version": None, "error": how, "detail": SAID[how]}
        self.journal.add(task.clip.id, row)
        return find_failure(task.clip.id, row)

    def _row(self, task: Task, begin: Callable[[], None]) -> Row | None:
        version = None
        try:
            task.clip.check()
            version = digest(self.step.version, self.step.state(task.clip, self.clip_dir))
            if task.fatal:
                return {"version": version, "error": task.fatal, "detail": SAID[task.fatal]}
            if version == self._known(task.clip):
                return None
            begin()
            return {"version": version, "error": None, "detail": None} | self.step.measure(task.clip, self.clip_dir)
        except Skip as skip:
            told = {"error": skip.reason, "detail": skip.detail or skip.reason}
            return {"version": version} | told | skip.facts
        except InputError as error:
            return {"version": version, "error": "unreadable", "detail": str(error)}
        except StoreError as error:
            return {"version": None, "error": STORE_FAILED, "detail": str(error)}
        except OSError as error:
            if out_of_space(error):
                raise
            return {"version": None, "error": "unreadable", "detail": first_line(error)}
        except Exception as error:  # noqa: BLE001  (a clip that nobody has thought of must not stop the others)
            return _unexpected(error)

    def _known(self, clip: Clip) -> str | None:
        """The version of the clip's row, where that still holds."""
        prefix = f"{self.step.name}."
        row = {n.removeprefix(prefix): value for n, value in clip.facts.items() if n.startswith(prefix)}
        if row.get("version") is None or (self.retry and row["error"] in SAID):
            return None
        return row["version"] if self.step.holds(clip, self.clip_dir, row) else None


def _unexpected(error: Exception) -> Row:
    return {"version": None, "error": UNEXPECTED, "detail": first_line(error)}
