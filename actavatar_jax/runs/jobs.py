"""Sampling jobs: one video each, finished ones skipped, failures reported without stopping the others."""

import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm import tqdm

from actavatar_jax.diffusion import sampling
from actavatar_jax.diffusion.sampler import Step
from actavatar_jax.errors import InputError
from actavatar_jax.media import Video
from actavatar_jax.pipeline import ActAvatarPipeline

log = logging.getLogger(__name__)

REQUIRED = ("image", "audio", "prompt", "out")
OPTIONS = (*sampling.OPTIONS, "anyway")  # of ActAvatarPipeline.__call__ that a job may set


@dataclasses.dataclass(frozen=True)
class Job:
    """What one video is made of; `options` are keyword arguments of the pipeline."""

    image: str
    audio: str
    prompt: str | dict
    out: str
    options: dict[str, Any]


def run_jobs(
    model: Path | str | ActAvatarPipeline,
    jobs: list[Job],
    *,
    skip_finished: bool = True,
    watch: Callable[[ActAvatarPipeline, Job], Callable[[Step], None]] | None = None,
    **loading,
) -> int:
    """Makes the videos and returns how many failed; each failure is one sentence on standard error.

    `model` is a model folder (read only if there is something to do, with `loading` options) or a pipeline. Over
    several processes each of them calls this alike; the first one decides which videos are finished, and writes.
    `watch` gives the callback of a job's steps, in every process.
    """
    finished = multihost_utils.broadcast_one_to_all(np.asarray([Path(job.out).exists() for job in jobs]))
    todo = [job for job, exists in zip(jobs, finished, strict=True) if not (skip_finished and exists)]
    if len(todo) < len(jobs):
        log.info("%d of %d videos exist already", len(jobs) - len(todo), len(jobs))
    for job in todo:
        if Path(job.out).suffix != ".mp4":
            raise InputError(f"The output {job.out} is not an .mp4 file; videos are written as .mp4.")
    if not todo:
        return 0
    pipeline = model if isinstance(model, ActAvatarPipeline) else ActAvatarPipeline.from_pretrained(model, **loading)
    failed, writing = 0, jax.process_index() == 0
    for job in tqdm(todo, "sample", unit="video", disable=len(todo) == 1 or not writing):
        try:
            callback = watch(pipeline, job) if watch else None
            video = pipeline(job.image, job.audio, job.prompt, callback=callback, **job.options)
            if writing:
                _save(video, job.out)
        except InputError as error:
            failed += 1
            if writing:
                print(f"error: {job.out}: {error}", file=sys.stderr)
    return failed


def _save(video: Video, path: str) -> None:
    try:
        video.save(path)
    except OSError as error:
        raise InputError(f"The video cannot be written: {error}") from error


def read_jobs(path: Path, shared: dict[str, Any]) -> list[Job]:
    """Jobs of a JSON lines file; a line's own options win over the shared ones. Raises InputError on all bad lines."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The jobs file {path} cannot be read: {error}") from error
    jobs, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"line {number} is not JSON ({error.msg})")
            continue
        if not isinstance(row, dict):
            problems.append(f"line {number} is not a JSON object")
            continue
        missing = [key for key in REQUIRED if not row.get(key)]
        unknown = sorted(set(row) - set(REQUIRED) - set(OPTIONS))
        problems += [f"line {number} lacks {', '.join(missing)}"] * bool(missing)
        problems += [f"line {number} has unknown {', '.join(unknown)}"] * bool(unknown)
        if not isinstance(row.get("anyway", False), bool):
            problems.append(f"line {number} has an anyway that is neither true nor false")
        options = shared | {key: value for key, value in row.items() if key in OPTIONS}
        jobs.append(Job(*(row.get(key) for key in REQUIRED), options))
    if problems:
        raise InputError(f"The jobs file {path} has problems: {'; '.join(problems)}.")
    if not jobs:
        raise InputError(f"The jobs file {path} is empty; give one JSON object a line with {', '.join(REQUIRED)}.")
    return jobs
