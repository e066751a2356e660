"""Where chunks of work run: in this process, in others, or on an Apache Beam engine."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from actavatar_jax.errors import InputError
from actavatar_jax.storage import cut, shown
from data_pipelines.table.pool import map_unordered

RUNNERS = ("processes", "beam")
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
FETCHING = ("direct", "switchingdirect", "prism")  # local engines that would download a program first

Chunk = TypeVar("Chunk")


def run_in_processes(work: Callable[[Chunk], int], chunks: Iterator[Chunk], workers: int) -> Iterator[int]:
    """What `work` says of the chunks as they are done, in spawned processes, or with no workers in this one."""
    if workers == 0:
        yield from map(work, chunks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            yield from map_unordered(pool, work, chunks, 2 * workers)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def run_on_beam(work: Callable[[Chunk], int], chunks: Iterable[Chunk], options: Sequence[str]) -> None:
    """Works on all chunks; `options` choose the engine. Raises InputError where Beam is not installed.

    Without an engine, and for Beam's own local ones, it is the one that is part of the installed package: the others
    fetch a program from the internet, unless `--prism_location` names a file on this machine.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ImportError as error:
        raise InputError('--runner beam needs Apache Beam: pip install "actavatar-jax[data]"') from error
    settings = PipelineOptions(list(options))
    standard = settings.view_as(StandardOptions)
    standard.runner = choose_engine(standard.runner, settings.get_all_options().get("prism_location"))
    try:
        made = beam.Pipeline(options=settings)
    except (ValueError, ImportError, AttributeError) as error:
        raise InputError(f"Beam's engine {shown(standard.runner)} cannot be used: {cut(str(error), 200)}") from error
    with made as pipeline:
        _ = pipeline | beam.Create(list(chunks)) | beam.Reshuffle() | beam.Map(work)


def choose_engine(name: str | None, prism: str | None) -> str:
    """The engine that Beam is told to use where `name` was asked for, and `prism` is the place of Prism's program."""
    short = (name or "direct").rpartition(".")[2].lower().removesuffix("runner")
    if short not in FETCHING:
        return name
    if prism and os.path.isfile(prism):
        return "PrismRunner"
    if short == "prism":
        raise InputError(
            "Beam's PrismRunner would download a program; accepted is --beam-option=--prism_location=FILE with one on "
            "this machine, or no runner, for the local one of the installed package."
        )
    return LOCAL_RUNNER


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, or go on writing beside the next run."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
