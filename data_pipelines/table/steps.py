"""How a step runs over a table of clips: in processes here or on an Apache Beam engine, resumable after a kill.

Workers append one line per finished clip to `<clip_dir>/.steps/<step>/<run>-<chunk>.jsonl`. These journals are also how
results come back, whatever the runner is: when all chunks are done, they are read into columns of the table. A clip
folder must therefore be one file system for all workers.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, Table
from data_pipelines.table.files import digest
from data_pipelines.table.pool import results
from data_pipelines.table.report import Report, Skip

RUNNERS = ("processes", "beam")
MOST_PER_CHUNK = 16
Row = dict[str, Any]


def clip_path(clip: Clip, clip_dir: Path) -> Path:
    """Where `prepare` puts the clip."""
    return clip_dir / "clips" / f"{clip.id}.mp4"


def clip_state(clip: Clip, clip_dir: Path) -> str:
    """Names the contents of the prepared clip by size and time. Raises Skip where there is none."""
    path = clip_path(clip, clip_dir)
    try:
        facts = path.stat()
    except FileNotFoundError as error:
        why = clip.facts.get("prepare.error")
        raise Skip("no clip", f"not prepared: {why}" if why else f"{path} does not exist") from error
    return f"{facts.st_size} {facts.st_mtime_ns}"


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
    report: Report | None = None,
    only: Callable[[Clip], bool] | None = None,
) -> Table:
    """The table with the columns `<step>.*` of all clips, also written to `clip_dir/manifest.parquet`.

    Beside what `measure` returns, there are `version`, and for clips that cannot be measured `error` (few words) and
    `detail` (a sentence). A clip whose `version` (of the step and of the files) is in the table or in the journal
    of a killed run is not measured again.

    runner: "processes" here, or "beam", where `beam_options` choose the engine (default: the local runner). workers:
    number of processes, by default one per core; 0 runs in this one. Processes are spawned, so a script that calls this
    needs a main guard. report: gets one outcome per clip. only: which clips are wanted; the others keep their columns.
    Exceptions other than Skip and InputError end the run.
    """
    if runner not in RUNNERS:
        raise InputError(f"runner '{runner}': accepted are {', '.join(RUNNERS)}")
    clip_dir = Path(clip_dir)
    journals = clip_dir / ".steps" / step.name
    journals.mkdir(parents=True, exist_ok=True)
    before = _stored(step, table) | _journalled(journals)
    workers = (os.cpu_count() or 1) if workers is None else workers
    wanted = {clip.id for clip in table if only is None or only(clip)}
    known = ((clip, before.get(clip.id, {}).get("version")) for clip in table if clip.id in wanted)
    size = min(MOST_PER_CHUNK, max(1, len(wanted) // (4 * max(workers, 1))))
    chunks = _chunks(known, size)
    work = partial(_run_chunk, step, clip_dir, _next_run(journals))
    with tqdm(total=len(wanted), desc=step.name, unit="clip", disable=not progress) as bar:
        for done in _beam(work, chunks, beam_options) if runner == "beam" else _processes(work, chunks, workers):
            bar.update(done)

    nothing = {clip_id: {"version": None} for clip_id in table.column("id")}  # a step that has run has this column
    after = nothing | before | _journalled(journals)
    table = table.with_step(step.name, after)
    table.write(clip_dir / "manifest.parquet")
    shutil.rmtree(journals)
    if report is not None:
        _tell(report, table, wanted, before, after)
    return table


# ---- where chunks run

Chunk = tuple[int, list[tuple[Clip, str | None]]]  # its number; clips, each with the version of its row if there is one


def _chunks(known: Iterator[tuple[Clip, str | None]], size: int) -> Iterator[Chunk]:
    for number in itertools.count():
        chunk = list(itertools.islice(known, size))
        if not chunk:
            return
        yield number, chunk


def _processes(work: Callable[[Chunk], int], chunks: Iterator[Chunk], workers: int) -> Iterator[int]:
    """Numbers of clips as they are done."""
    if workers == 0:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield from results(pool, work, chunks, 2 * workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, or go on writing beside the next run."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _beam(work: Callable[[Chunk], int], chunks: Iterable[Chunk], options: Sequence[str]) -> Iterator[int]:
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError('--runner beam needs Apache Beam: pip install "actavatar-jax[data]"') from error
    chunks = list(chunks)
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = pipeline | beam.Create(chunks) | beam.Reshuffle() | beam.Map(work)
    yield sum(len(clips) for _, clips in chunks)


# ---- in a worker


def _run_chunk(step: Step, clip_dir: Path, run: int, chunk: Chunk) -> int:
    """Journals the clips of a chunk that have to be measured; the number of clips in the chunk."""
    number, clips = chunk
    path = clip_dir / ".steps" / step.name / f"{run:04d}-{number:06d}.jsonl"
    with path.open("a", encoding="utf-8") as journal:
        for clip, known in clips:
            row = _measured(step, clip, clip_dir, known)
            if row is not None:
                # The line break in front closes a line that a killed worker may have left unfinished.
                journal.write("\n" + json.dumps({"id": clip.id, "row": row}, default=_plain) + "\n")
                journal.flush()
    return len(clips)


def _measured(step: Step, clip: Clip, clip_dir: Path, known: str | None) -> Row | None:
    """The clip's columns, None if those of the version `known` still hold."""
    version = None
    try:
        version = digest(step.version, step.state(clip, clip_dir))
        if version == known:
            return None
        return {"version": version, "error": None, "detail": None} | step.measure(clip, clip_dir)
    except Skip as skip:
        return {"version": version, "error": skip.reason, "detail": skip.detail or skip.reason}
    except InputError as error:
        return {"version": version, "error": "unreadable", "detail": str(error)}


def _plain(value: Any) -> Any:
    """What JSON writes in the place of a NumPy number or array."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a step returned {type(value).__name__}; accepted are numbers, texts, lists and dicts of them")


# ---- what is known


def _stored(step: Step, table: Table) -> dict[str, Row]:
    """The rows of an earlier run of the step, by id."""
    prefix = f"{step.name}."
    if f"{prefix}version" not in table.names:
        return {}
    names = [name for name in table.names if name.startswith(prefix)]
    rows = zip(table.column("id"), *map(table.column, names), strict=True)
    return {i: {n.removeprefix(prefix): v for n, v in zip(names, values, strict=True)} for i, *values in rows}


def _journalled(journals: Path) -> dict[str, Row]:
    """The rows in the journals, by id; of a clip that was measured in several runs the last."""
    rows = {}
    for path in sorted(journals.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line) if line else None
            except json.JSONDecodeError:
                continue  # cut by a kill: that clip is measured again
            if entry:
                rows[entry["id"]] = entry["row"]
    return rows


def _next_run(journals: Path) -> int:
    return max((int(path.name.split("-")[0]) + 1 for path in journals.glob("*.jsonl")), default=0)


def _tell(report: Report, table: Table, wanted: set[str], before: dict[str, Row], after: dict[str, Row]) -> None:
    for clip_id in table.column("id"):
        if clip_id not in wanted:
            report.add(clip_id, "not selected")
            continue
        row, old = after[clip_id], before.get(clip_id, {})
        if row["error"]:
            report.add(clip_id, "skipped", row["error"], row["detail"])
        else:
            report.add(clip_id, "kept" if row["version"] == old.get("version") else "made")
