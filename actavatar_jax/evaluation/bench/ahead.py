"""Several processes that measure clips ahead of the report: what they find is kept, and the report reads it there."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import Metric
from actavatar_jax.evaluation.bench.metrics import Needs, open_metric
from actavatar_jax.evaluation.bench.sets import SetMetric
from actavatar_jax.evaluation.videos import each_video


def measure_ahead(
    names: Sequence[str],
    clips: Sequence[BenchClip],
    needs: Needs,
    kept: Kept,
    workers: int,
    watch: Callable[[int], contextlib.AbstractContextManager[Callable[[], object]]],
) -> None:
    """Measures every clip by the metrics `names`, and makes the features of the real videos, in so many processes.

    watch: a bar for so many files. A metric that is not available, and a file that cannot be read, are left to the
    report, which has the sentence. InputError where a process dies.
    """
    needs, real = replace(needs, judge=None), _real_videos(names, needs)
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool, watch(len(clips) + len(real)) as step:
        tasks = [pool.submit(_measure, names, needs, clip, kept) for clip in clips]
        tasks += [pool.submit(_extract, names, needs, path, kept) for path in real]
        try:
            for task in as_completed(tasks):
                task.result()
                step()
        except BrokenProcessPool as error:
            raise InputError("A process that measured clips died, perhaps for want of memory; take fewer.") from error


def _begin() -> None:
    import jax

    jax.config.update("jax_platforms", "cpu")  # workers are many, and each would take all of an accelerator


def _measure(names: Sequence[str], needs: Needs, clip: BenchClip, kept: Kept) -> None:
    for metric in _opened(names, needs):
        if isinstance(metric, SetMetric):
            metric.extract(clip.path, clip.frames, kept)
        else:
            metric.score([clip], kept, lambda: None)


def _extract(names: Sequence[str], needs: Needs, path: Path, kept: Kept) -> None:
    for metric in _opened(names, needs):
        if isinstance(metric, SetMetric):
            with contextlib.suppress(InputError):
                metric.extract(path, None, kept)


def _opened(names: Sequence[str], needs: Needs) -> Iterable[Metric]:
    return (metric for name in names if (metric := _open(name, needs)) is not None)


@functools.cache
def _open(name: str, needs: Needs) -> Metric | None:
    """Once in every process."""
    try:
        return open_metric(name, needs)
    except InputError:
        return None


def _real_videos(names: Sequence[str], needs: Needs) -> list[Path]:
    if needs.real is None or not {"fid", "kid", "fvd"} & set(names):
        return []
    with contextlib.suppress(InputError):
        return [source.path for source in each_video(needs.real)]
    return []
