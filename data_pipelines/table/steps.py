"""How a step runs over a table of clips: in processes here or on an Apache Beam engine, resumable after a kill.

Workers journal each finished clip in the clip folder. When all chunks are done, the journals are read into columns of
the table. A clip folder must therefore be one file system for all workers.
"""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from actavatar_jax.errors import InputError, Skip, first_line, out_of_space
from data_pipelines.table.clip_files import clip_state
from data_pipelines.table.files import digest
from data_pipelines.table.journals import Row, journal_folder, journal_path, next_run, read_rows, write_row
from data_pipelines.table.report import StepReport
from data_pipelines.table.runners import RUNNERS, run_in_processes, run_on_beam
from data_pipelines.table.table import Clip, Table

MOST_PER_CHUNK = 16
Chunk = tuple[int, list[tuple[Clip, str | None]]]  # its number; clips, each with the version of its row if there is one


@dataclass(frozen=True)
class Step:
    """One measurement of every clip. All parts must be picklable: module-level functions, frozen dataclasses."""

    name: str  # prefix of its columns
    measure: Callable[[Clip, Path], Row]  # (clip, clip folder) -> columns without prefix; raises Skip or InputError
    version: str = "1"  # of the way of measuring, with options and model digests: another one measures again
    state: Callable[[Clip, Path], str] = clip_state  # names the contents of the files that are measured


def run_step(
    step: Step,
    table: Table,
    clip_dir: str | Path,
    *,
    runner: str = "processes",
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    progress: bool = True,
    report: StepReport | None = None,
    only: Callable[[Clip], bool] | None = None,
) -> Table:
    """The table with the columns `<step>.*` of all clips, also written to `clip_dir/manifest.parquet`.

    Beside what `measure` returns, there are `version`, and for clips that cannot be measured `error` (few words) and
    `detail` (a sentence). A clip whose `version` (of the step and of the files) is in the table or in the journal
    of a killed run is not measured again.

    runner: "processes" here, or "beam", where `beam_options` choose the engine (default: the local runner). workers:
    number of processes, by default one per core; 0 runs in this one. Processes are spawned, so a script that calls this
    needs a main guard. report: gets one outcome per clip. only: which clips are wanted; the others keep their columns.
    A file that cannot be read is tried again by the next run. A full disk, and exceptions other than Skip, InputError
    and OSError, end the run.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner '{runner}': accepted are {', '.join(RUNNERS)}")
    clip_dir = Path(clip_dir)
    journals = journal_folder(clip_dir, step.name)
    journals.mkdir(parents=True, exist_ok=True)
    before = _stored(step, table) | read_rows(journals)
    workers = (os.cpu_count() or 1) if workers is None else workers
    wanted = {clip.id for clip in table if only is None or only(clip)}
    known = ((clip, before.get(clip.id, {}).get("version")) for clip in table if clip.id in wanted)
    size = min(MOST_PER_CHUNK, max(1, len(wanted) // (4 * max(workers, 1))))
    chunks = _chunks(known, size)
    work = partial(measure_chunk, step, clip_dir, next_run(journals))
    with tqdm(total=len(wanted), desc=step.name, unit="clip", disable=not progress) as bar:
        if runner == "beam":
            run_on_beam(work, chunks, beam_options)
            bar.update(len(wanted))
        else:
            for done in run_in_processes(work, chunks, workers):
                bar.update(done)

    nothing = {clip_id: {"version": None} for clip_id in table.column("id")}  # a step that has run has this column
    after = nothing | before | read_rows(journals)
    table = table.with_step(step.name, after)
    table.write(clip_dir / "manifest.parquet")
    shutil.rmtree(journals)
    if report is not None:
        _tell(report, table, wanted, before, after)
    return table


def _chunks(known: Iterator[tuple[Clip, str | None]], size: int) -> Iterator[Chunk]:
    for number in itertools.count():
        chunk = list(itertools.islice(known, size))
        if not chunk:
            return
        yield number, chunk


def _stored(step: Step, table: Table) -> dict[str, Row]:
    """The rows of an earlier run of the step, by id."""
    prefix = f"{step.name}."
    if f"{prefix}version" not in table.names:
        return {}
    names = [name for name in table.names if name.startswith(prefix)]
    rows = zip(table.column("id"), *map(table.column, names), strict=True)
    return {i: {n.removeprefix(prefix): v for n, v in zip(names, values, strict=True)} for i, *values in rows}


def _tell(report: StepReport, table: Table, wanted: set[str], before: dict[str, Row], after: dict[str, Row]) -> None:
    for clip_id in table.column("id"):
        if clip_id not in wanted:
            report.add(clip_id, "not selected")
            continue
        row, old = after[clip_id], before.get(clip_id, {})
        if "error" not in row:
            report.add(clip_id, "skipped", "lost", "its line of the journal is damaged; the next run measures it again")
        elif row["error"]:
            report.add(clip_id, "skipped", row["error"], row["detail"])
        else:
            report.add(clip_id, "kept" if row.get("version") == old.get("version") else "made")


# ---- in a worker


def measure_chunk(step: Step, clip_dir: Path, run: int, chunk: Chunk) -> int:
    """Journals the clips of a chunk that have to be measured; the number of clips in the chunk."""
    number, clips = chunk
    with journal_path(journal_folder(clip_dir, step.name), run, number).open("a", encoding="utf-8") as journal:
        for clip, known in clips:
            row = _measured(step, clip, clip_dir, known)
            if row is not None:
                write_row(journal, clip.id, row)
    return len(clips)


def _measured(step: Step, clip: Clip, clip_dir: Path, known: str | None) -> Row | None:
    """The clip's columns, None if those of the version `known` still hold."""
    version = None
    try:
        clip.check()
        version = digest(step.version, step.state(clip, clip_dir))
        if version == known:
            return None
        return {"version": version, "error": None, "detail": None} | step.measure(clip, clip_dir)
    except Skip as skip:
        return {"version": version, "error": skip.reason, "detail": skip.detail or skip.reason}
    except InputError as error:
        return {"version": version, "error": "unreadable", "detail": str(error)}
    except OSError as error:
        if out_of_space(error):
            raise
        return {"version": None, "error": "unreadable", "detail": first_line(error)}
