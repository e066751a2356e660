"""Where chunks of work run: in this process, in others, or on an Apache Beam engine."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from actavatar_jax.errors import InputError
from data_pipelines.table.pool import map_unordered

RUNNERS = ("processes", "beam")
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
    """Works on all chunks; `options` choose the engine. Raises InputError where Beam is not installed."""
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError('--runner beam needs Apache Beam: pip install "actavatar-jax[data]"') from error
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        _ = pipeline | beam.Create(list(chunks)) | beam.Reshuffle() | beam.Map(work)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, or go on writing beside the next run."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
