"""Sampling jobs: one video each, finished ones skipped, failures reported without stopping the others."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from actavatar_jax.diffusion import Step
from actavatar_jax.errors import InputError, interrupted
from actavatar_jax.parallel import agreed
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.runs.failures import Failures
from actavatar_jax.runs.job_lists import (
    OPTIONS,
    Job,
    check_inputs,
    check_video_name,
    is_finished,
    read_jobs,
    read_seconds,
    with_seeds,
)
from actavatar_jax.runs.long_videos import make_long_video
from actavatar_jax.runs.room import Room
from actavatar_jax.storage import locked_list
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.weights import check_loading, check_parts, load_defaults

log = logging.getLogger(__name__)

__all__ = ["OPTIONS", "Job", "Watch", "read_jobs", "read_seconds", "run_jobs", "with_seeds"]

Watch = Callable[[ActAvatarPipeline, Job], Callable[[Step], None]]  # gives the callback of a job's steps


def run_jobs(
    model: Path | str | ActAvatarPipeline,
    jobs: list[Job],
    *,
    skip_finished: bool = True,
    listed: Path | None = None,
    watch: Watch | None = None,
    stall_minutes: float = 30.0,
    **loading,
) -> int:
    """Makes the videos and returns how many failed; each failure is one sentence on standard error.

    `model` is a model folder (read only if there is something to do, with `loading` options) or a pipeline. Over
    several processes each of them calls this alike; the first one decides which videos are finished, and writes.
    `listed` is the jobs file, if there is one: nobody else works through it in the meantime, or InputError is raised.
    `watch` gives the callback of a job's steps, in every process.

    Before the first video is made, each job fails whose output cannot be written. Of a model folder, what is wrong with
    other files or the prompt fails it before anything is loaded, and so does what has no room in the memory of the
    device (`Room`).

    A failure ends one video, whatever it is. After three in a row of a kind that is not wrong input, the jobs that
    are left are not tried: the device may be lost. Of several processes, one that fails alone in the middle of a
    program raises what it failed with, since the others wait for it there; and all of them exit with code 75 when no
    step is done for `stall_minutes` (0: they never do).
    """
    with _held(listed):
        return _run(model, jobs, skip_finished, watch, stall_minutes, loading)


def _run(
    model: Path | str | ActAvatarPipeline,
    jobs: list[Job],
    skip_finished: bool,
    watch: Watch | None,
    stall_minutes: float,
    loading: dict[str, Any],
) -> int:
    begin = time.monotonic()
    finished = multihost_utils.broadcast_one_to_all(np.asarray([is_finished(job) for job in jobs]))
    todo = [job for job, exists in zip(jobs, finished, strict=True) if not (skip_finished and exists)]
    if len(todo) < len(jobs):
        log.info("%d of %d videos exist already", len(jobs) - len(todo), len(jobs))
    failures = Failures()
    todo = [job for job in todo if _passes(lambda job: check_video_name(job.out), job, failures)]
    if not todo:
        return failures.count
    if isinstance(model, ActAvatarPipeline):
        pipeline = model
    else:
        pipeline, todo = _open(model, todo, failures, watch is not None, loading)
    made_by = {"model": _identity(model), **loading}
    opened = time.monotonic()
    bar = tqdm(todo, "sample", unit="video", disable=len(todo) == 1 or jax.process_index() > 0)
    with Watchdog(stall_minutes if jax.process_count() > 1 else 0.0) as watchdog:
        for number, job in enumerate(bar, 1):
            watchdog.beat()
            try:
                _make(pipeline, job, watch, watchdog, made_by)
            except Exception as error:
                if interrupted(error):
                    raise
                failures.add(job.out, error)
                if failures.give_up(left=len(todo) - number):
                    break
            else:
                failures.end_row()
                if number == 1:
                    past = time.monotonic()
                    log.info(
                        "The first video after %.1f s: %.1f s to open the model, %.1f s to compile, sample and write",
                        *(past - begin, opened - begin, past - opened),
                    )
    return failures.count


@contextlib.contextmanager
def _held(listed: Path | None) -> Iterator[None]:
    """The first process has the lock of the list, for all of them."""
    with contextlib.ExitStack() as stack:
        with agreed():
            if listed and jax.process_index() == 0:
                stack.enter_context(locked_list(listed))
        yield


def _open(
    model: Path | str, jobs: list[Job], failures: Failures, watched: bool, loading: dict[str, Any]
) -> tuple[ActAvatarPipeline | None, list[Job]]:
    """The pipeline of a model folder, and the jobs that can be made with it; none without one."""
    check_loading(**loading)
    config, defaults = check_parts(model, loading.get("audio_encoder"))["transformer"], load_defaults(model)
    own = defaults.num_frames, defaults.sampling.rate or config.rate
    jobs = [job for job in jobs if _passes(lambda job: check_inputs(job, *own), job, failures)]
    room = Room(model, watched=watched or jax.process_count() > 1, **loading)
    jobs = [job for job in jobs if _passes(lambda job: room.check(job.image, job.call), job, failures)]
    if not jobs:
        return None, []
    return ActAvatarPipeline.from_pretrained(model, working=room.working, **loading), jobs


def _identity(model: Path | str | ActAvatarPipeline) -> Any:
    """What tells a model folder's transformer apart, without reading it; nothing of a pipeline in memory."""
    if isinstance(model, ActAvatarPipeline):
        return None
    files = sorted(path for path in Path(model).rglob("*") if path.suffix == ".safetensors")
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _passes(check: Callable[[Job], None], job: Job, failures: Failures) -> bool:
    try:
        with agreed():
            check(job)
    except InputError as error:
        failures.add(job.out, error)
        return False
    return True


def _make(
    pipeline: ActAvatarPipeline, job: Job, watch: Watch | None, watchdog: Watchdog, made_by: dict[str, Any]
) -> None:
    watched = watch(pipeline, job) if watch else None

    def beat(step: Step) -> None:
        watchdog.beat()
        if watched:
            watched(step)

    callback = watched if jax.process_count() == 1 else beat
    if long := job.long:
        inputs = (job.image, job.audio, job.prompt, job.out)
        make_long_video(pipeline, *inputs, long, made_by=made_by, callback=callback, **job.call)
        return
    video = pipeline(job.image, job.audio, job.prompt, callback=callback, **job.call)
    with agreed():
        if jax.process_index() == 0:
            video.save(job.out)
