"""What `python launch/bench.py metrics` measures: what each metric of a folder of videos takes, by clip and by set."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench import METRICS, read_bench
from actavatar_jax.evaluation.bench.clips import BenchClip, find_clips
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import ClipMetric
from actavatar_jax.evaluation.bench.metrics import Needs, open_metric
from actavatar_jax.evaluation.frechet import Group, frechet_distance, frechet_interval, statistics
from actavatar_jax.evaluation.kernel import kernel_distance
from actavatar_jax.evaluation.sets import RESAMPLES

DRAWS = 2  # of an interval, from which the time of RESAMPLES is reckoned
FEATURES = 2048  # of a frame by Inception
MEASURED = tuple(name for name in METRICS if name != "judge")  # a judge is a server, whose time is not ours


@dataclass(frozen=True)
class Cost:
    """Of one metric: processor seconds for a clip, and for what is done once with all of them; peak bytes of memory."""

    name: str
    clip: float
    once: float
    peak: int


def measure_metrics(
    names: Sequence[str], folder: Path, weights: Path, clips: int, peak_memory: Callable[[], int]
) -> Iterator[Cost]:
    """Each in a process of its own, whose peak memory is the metric's alone.

    folder: of a bench of puppets, whose films are what is measured and what is real. clips: number of each set.
    """
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            clip, once = pool.submit(measure_metric, name, folder, weights, clips).result()
            yield Cost(name, clip, once, pool.submit(peak_memory).result())


def measure_metric(name: str, folder: Path, weights: Path, clips: int) -> tuple[float, float]:
    """The processor seconds of `Cost`. Raises InputError: the metric is not available, or has no number of a clip."""
    films = folder / "real"
    found = find_clips(films, read_bench(folder / "bench.jsonl"), Kept(folder / "kept"), lambda: None).clips
    metric = open_metric(name, Needs(weights, films))
    if isinstance(metric, ClipMetric):
        return _each(lambda clip: _measure(metric, clip), found), 0.0
    if name == "kid":  # its features are FID's
        sets = _random_sets((found[0].frames, FEATURES), clips)
        return 0.0, _seconds(lambda sets: kernel_distance(*sets, RESAMPLES), sets)
    clip = once = 0.0
    for extractor in metric.extractors.values():
        groups: list[Group] = []
        clip += 2 * _each(lambda one, to=groups, by=extractor: to.extend(by.groups([one.path])), found)  # of both sets
        once += _frechet_seconds(_random_sets(groups[0].shape, clips))
    return clip, once


def _measure(metric: ClipMetric, clip: BenchClip) -> None:
    try:
        metric.measure(clip)
    except Skip as skip:
        raise InputError(f"{metric.name} has no number of {clip.item.id}: {skip.detail}") from skip


def _random_sets(shape: tuple[int, ...], clips: int) -> list[list[Group]]:
    """Two sets of as many features as those of so many videos."""
    rng = np.random.default_rng(0)
    return [[rng.standard_normal(shape, np.float32) for _ in range(clips)] for _ in range(2)]


def _frechet_seconds(sets: list[list[Group]]) -> float:
    """Of the distance and of all draws of its interval, each of which takes as long as the others."""
    value = _seconds(lambda sets: frechet_distance(*map(statistics, sets)), sets)
    return value + _seconds(lambda sets: frechet_interval(0.0, *sets, DRAWS), sets) * RESAMPLES / DRAWS


def _each(measure: Callable[[BenchClip], object], clips: Sequence[BenchClip]) -> float:
    """Mean over the clips after the first one, with which programs are compiled and models loaded."""
    first, *others = clips
    measure(first)
    return _seconds(lambda others: [measure(clip) for clip in others], others) / len(others)


def _seconds(run: Callable, argument: object) -> float:
    """Processor seconds of all threads, so that other work on the machine does not count."""
    start = time.process_time()
    run(argument)
    return time.process_time() - start
