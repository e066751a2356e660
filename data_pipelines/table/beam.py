"""Measuring on an Apache Beam engine: the graph holds the name of a table, and its row groups are split by workers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, cut, fetched, open_place, replaced_file, shown
from data_pipelines.table.measuring import Measuring, tasks_of
from data_pipelines.table.workers import WorkerPool

LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
FETCHING = ("direct", "switchingdirect", "prism")  # local engines that would download a program first
SERVERS = {"flink": "flink_job_server_jar", "spark": "spark_job_server_jar"}  # so would these, without their file
ROWS, PER_PIECE = 512, 16  # of a row group; clips that a worker gets at a time

Piece = tuple[str, int, int]  # table, row group, first row in it


def measure_on_beam(measuring: Measuring, work: pa.Table, options: Sequence[str], timeout: float) -> None:
    """Measures all clips, in the form of `tasks_of`; `options` choose the engine. All workers must see the clip folder.

    Each worker of the engine has a process beside it, which measures its clips, so that one that dies or takes longer
    than `timeout` seconds costs its clip alone, as in `measure_in_pool`.

    Without an engine, and for Beam's own local ones, it is the one that is part of the installed package: the others
    fetch a program from the internet, unless `--prism_location` names a file on this machine. Raises InputError where
    Beam is not installed, and for engines that would fetch a program.
    """
    path = measuring.journal.folder / "work.parquet"
    write_work(work, path)
    with open_pipeline(options) as pipeline:
        add_work(pipeline, measuring, path, timeout)
    path.unlink()


def open_pipeline(options: Sequence[str]) -> Any:
    """A pipeline of the engine that the options name."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ImportError as error:
        raise InputError('--runner beam needs Apache Beam: pip install "actavatar-jax[data]"') from error
    settings = PipelineOptions(list(options))
    standard = settings.view_as(StandardOptions)
    standard.runner = choose_engine(standard.runner, settings.get_all_options())
    try:
        return beam.Pipeline(options=settings)
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(f"Beam's engine {shown(standard.runner)} cannot be used: {cut(str(error), 200)}") from error


def add_work(pipeline: Any, measuring: Measuring, path: Place, timeout: float) -> None:
    """Puts the work in the table at `path` into a pipeline, whose graph is as large for any number of clips."""
    import apache_beam as beam

    from data_pipelines.table.beam_worker import MeasurePiece

    pieces = pipeline | beam.Create([str(path)]) | beam.FlatMap(split_work) | beam.Reshuffle()
    _ = pieces | beam.ParDo(MeasurePiece(measuring, timeout))


def write_work(work: pa.Table, path: Place) -> None:
    """Tasks as a file of row groups."""
    with replaced_file(path) as partial:
        pq.write_table(work, partial, row_group_size=ROWS)


def split_work(path: str) -> Iterator[Piece]:
    """All pieces of the table."""
    with fetched(open_place(path)) as local:
        metadata = pq.read_metadata(local)
    for group in range(metadata.num_row_groups):
        for first in range(0, metadata.row_group(group).num_rows, PER_PIECE):
            yield path, group, first


def measure_piece(piece: Piece, measuring: Measuring, pool: WorkerPool) -> int:
    """Measures the clips of a piece; their number."""
    path, group, first = piece
    rows = _open(path).read_row_group(group).slice(first, PER_PIECE)
    measured = sum(1 for _ in pool.measure(measuring, tasks_of(rows)))
    measuring.journal.put_up()
    return measured


@lru_cache(maxsize=1)
def _open(path: str) -> pq.ParquetFile:
    with fetched(open_place(path)) as local:  # it stays readable when its name is gone
        return pq.ParquetFile(local)


def choose_engine(name: str | None, options: Mapping[str, Any]) -> str:
    """The engine that Beam is told to use where `name` was asked for. Raises InputError if it would fetch a program."""
    short = (name or "direct").rpartition(".")[2].lower().removesuffix("runner")
    if short in SERVERS and not _is_file(options.get(SERVERS[short])):
        raise InputError(
            f"Beam's {shown(name)} would download a program; accepted is --beam-option=--{SERVERS[short]}=FILE with "
            "one on this machine, or PortableRunner with --job_endpoint."
        )
    if short == "portable" and not options.get("job_endpoint"):
        raise InputError(
            f"Beam's {shown(name)} would fetch a program; accepted is --beam-option=--job_endpoint=HOST:PORT of a "
            "server that runs."
        )
    if short not in FETCHING:
        return name
    if _is_file(options.get("prism_location")):
        return "PrismRunner"
    if short == "prism":
        raise InputError(
            "Beam's PrismRunner would download a program; accepted is --beam-option=--prism_location=FILE with one on "
            "this machine, or no runner, for the local one of the installed package."
        )
    return LOCAL_RUNNER


def _is_file(path: str | None) -> bool:
    return bool(path) and os.path.isfile(path)
