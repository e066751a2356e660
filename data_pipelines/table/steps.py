"""How a step runs over a table of clips: in processes here or on an Apache Beam engine, resumable after a kill, and in
parts by several processes.

Workers journal each clip as it is begun and as it is done. When all parts are done, the journals become the columns of
the step, a file of their own. A clip folder must therefore be one file system for all workers, or on an object store.
"""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial

import pyarrow as pa
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, open_place
from data_pipelines.table.beam import measure_on_beam
from data_pipelines.table.columns import join_step, known_columns, write_columns
from data_pipelines.table.extras import import_extra
from data_pipelines.table.files import digest
from data_pipelines.table.journals import count_begun, list_journals
from data_pipelines.table.measuring import FATAL, Failure, Measuring, Step, find_failure, tasks_of
from data_pipelines.table.parts import Part, Process
from data_pipelines.table.report import CRASHED, StepReport
from data_pipelines.table.table import Table
from data_pipelines.table.workers import measure_in_pool

RUNNERS = ("processes", "beam")
TIMEOUT = 600.0  # seconds that a clip may take
MOST_FAILED, LEAST_FAILED = 0.01, 10  # share of the clips that may fail for no known reason, and number that always may
PUT_UP = 20.0  # seconds whose rows are lost with a machine, where the clips are on an object store
GIVEN_UP = 3  # runs that began a clip and were killed before its end
NOTHING = (None, None, None)

log = logging.getLogger(__name__)


def run_step(
    step: Step,
    table: Table,
    clip_dir: str | Place,
    *,
    runner: str = "processes",
    workers: int | None = None,
    beam_options: Sequence[str] = (),
    process: Process | None = None,
    timeout: float = TIMEOUT,
    retry: bool = False,
    progress: bool = True,
    report: StepReport | None = None,
    only: Collection[str] | None = None,
) -> Table | None:
    """The table with the columns `<step>.*` of all clips, also written to `clip_dir/columns/<step>.parquet`.

    Beside what `measure` returns, there are `version`, and for clips that cannot be measured `error` (few words) and
    `detail` (a sentence). A clip whose `version` (of the step and of what the files hold) is there already or in the
    journal of a killed run is not measured again.

    runner: "processes" here, or "beam", where `beam_options` choose the engine (default: the local runner). workers:
    number of processes, by default one per core (see `choose_workers`); 0 runs in this one. Processes are spawned, so a
    script that calls this needs a main guard. process: (i, n) does part i = 0..n-1 of n only; the one that ends last
    puts all together, the others get None. report: gets one outcome for each clip of the part, or of all where they
    were put together. only: ids of the clips that are wanted; the others keep their columns.

    No clip stops the others. One whose worker dies, or takes longer than `timeout` seconds, twice, is "crashed" or
    "timed out", and measured again only with `retry`, or when it has changed; an exception is an "unexpected error",
    which the next run tries again, as a file that cannot be read. A full disk ends the run, and an InputError does when
    more than 1 % of the clips, and more than 10, failed in one of these ways.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner '{runner}': accepted are {', '.join(RUNNERS)}")
    clip_dir, ids = open_place(clip_dir), table.column("id")
    wanted = [clip_id for clip_id in ids if only is None or clip_id in only]
    part = Part.of_step(clip_dir, step.name, process, digest(step.version, step.limits, *wanted))
    mine = wanted[part.index :: part.count]
    with part.begun() as journal:
        before = known_columns(step.name, table, clip_dir, part.folders())
        begun = Counter() if retry else count_begun(list_journals(part.own))
        work = make_work(join_step(table.of_clips(mine), step.name, before), begun)
        measuring = Measuring(step, clip_dir, journal, retry)
        if runner == "beam":
            measure_on_beam(measuring, work, beam_options, timeout)
            failures = [find_failure(entry.id, entry.row) for entry in journal.rows()]
            failures = itertools.chain(itertools.repeat(None, len(work) - len(failures)), failures)
        else:
            failures = _measured(measuring, work, choose_workers() if workers is None else workers, timeout)
        with tqdm(total=len(work), desc=step.name, unit="clip", disable=not progress) as bar:
            for _ in stop_at_many(step.name, failures):
                bar.update()
                journal.put_up(PUT_UP)
        journal.put_up()
        made = {entry.id for entry in journal.rows()}
    stored = known_columns(step.name, table, clip_dir, ()) if part.count > 1 else before
    gather = partial(known_columns, step.name, table, clip_dir)
    columns = part.merge(gather, partial(write_columns, clip_dir, step.name))
    if report is not None:
        after = known_columns(step.name, table, clip_dir, part.folders()) if columns is None else columns
        told = (mine, after, before) if columns is None else (ids, after, stored)
        for outcome in _outcomes(step.name, *told, set(wanted), made):
            report.add(*outcome)
    return None if columns is None else join_step(table, step.name, columns)


def join_found(table: Table, step: str, clip_dir: Place, process: Process | None) -> Table:
    """The table with what is known of a step once this process's part is done, whatever the others are at."""
    own = Part.of_step(clip_dir, step, process, "").own
    return join_step(table, step, known_columns(step, table, clip_dir, [own]))


def choose_workers() -> int:
    """A process for each core; where the package for them is not installed, this one."""
    try:
        import_extra("pebble")
    except InputError as error:
        log.warning("Clips are measured one after the other here, where a crash ends the run: %s", error)
        return 0
    return os.cpu_count() or 1


def make_work(table: Table, begun: Mapping[str, int]) -> pa.Table:
    """The clips, of which those that killed runs had begun come last, with the column FATAL."""
    ids = table.column("id")
    fatal = pa.array([CRASHED if begun.get(clip_id, 0) >= GIVEN_UP else None for clip_id in ids], pa.string())
    order = sorted(range(len(ids)), key=lambda place: begun.get(ids[place], 0))
    return table.data.append_column(FATAL, fatal).take(pa.array(order, pa.int64()))


def _measured(measuring: Measuring, work: pa.Table, workers: int, timeout: float) -> Iterator[Failure | None]:
    if workers:
        return measure_in_pool(measuring, tasks_of(work), workers, timeout)
    return map(measuring, tasks_of(work))


def stop_at_many(step: str, failures: Iterable[Failure | None]) -> Iterator[None]:
    """Goes through what became of the clips. Raises InputError when too many failed for no known reason."""
    failed = 0
    for done, failure in enumerate(failures, start=1):
        failed += failure is not None
        if failure and failed > max(LEAST_FAILED, MOST_FAILED * done):
            raise InputError(
                f"{step} was stopped: {failed:,} of {done:,} clips failed for no known reason, and more than "
                f"{MOST_FAILED:.0%} are no single clip's fault. The last one: {failure}"
            )
        yield


def _outcomes(
    step: str, ids: list[str], after: pa.Table, before: pa.Table, wanted: set[str], made: set[str]
) -> Iterator[tuple[str, ...]]:
    """What became of the clips: `made` are those that this run measured."""
    old, new = _states(step, before), _states(step, after)
    for clip_id in ids:
        version, error, detail = new.get(clip_id, NOTHING)
        if clip_id not in wanted:
            yield (clip_id, "not selected")
        elif error:
            yield (clip_id, "skipped", error, detail or error)
        elif version is None:
            yield (clip_id, "skipped", "lost", "its line of the journal is damaged; the next run measures it again")
        else:
            kept = clip_id not in made and old.get(clip_id, NOTHING)[:2] == (version, None)
            yield (clip_id, "kept" if kept else "made")


def _states(step: str, columns: pa.Table) -> dict[str, tuple[str | None, str | None, str | None]]:
    """(version, error, detail) of each clip, by its id."""
    names = [f"{step}.{name}" for name in ("version", "error", "detail")]
    values = [columns[name].to_pylist() if name in columns.column_names else [None] * len(columns) for name in names]
    return dict(zip(columns["id"].to_pylist(), zip(*values, strict=True), strict=True))
