"""One of two processes, in which something fails in one way or another: what becomes of both?

    python -m tests.parallel.failing PORT PROCESS CASE FOLDER

It ends as a command does. Cases are the functions below; jobs write their videos to FOLDER.
"""

import logging
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from actavatar_jax.cli.exits import run_command
from actavatar_jax.errors import InputError
from actavatar_jax.media import Video
from actavatar_jax.parallel import agreed, make_mesh
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.runs import failures
from actavatar_jax.runs.jobs import Job, run_jobs
from actavatar_jax.weights import TRAINED, never_trained


def main(port: str, process: str, case: str, folder: str) -> None:
    logging.basicConfig()
    jax.distributed.initialize(f"localhost:{port}", 2, int(process))
    wait()  # both are there
    name, _, who = case.partition(" ")
    run_command(lambda: CASES[name](jax.process_index() == int(who or 1), Path(folder)))


def wait() -> None:
    multihost_utils.process_allgather(np.zeros(1))


def in_agreement(fails: bool, folder: Path) -> None:
    with agreed():
        if fails:
            raise OSError("the disk is gone")
    wait()


def wrong_input(fails: bool, folder: Path) -> None:
    with agreed():
        if fails:
            raise InputError("The portrait is absent.")
    wait()


def local_look(fails: bool, folder: Path) -> None:
    """At a leaf that is cut over both processes, of which one does not come so far."""
    kernel = jax.jit(lambda: jnp.ones((2, 4)), out_shardings=NamedSharding(make_mesh("1,2,1"), P("fsdp")))()
    wait()
    with agreed():
        if fails:
            raise InputError("The adapter is absent.")
        print("never trained:", never_trained({TRAINED: kernel}), flush=True)


def alone(fails: bool, folder: Path) -> None:
    if fails:
        raise OSError("the disk is gone")
    wait()


def alike(fails: bool, folder: Path) -> None:
    time.sleep(2 * fails)  # not at the same moment
    raise InputError("The hosts disagree.")


def some_jobs(fails: bool, folder: Path) -> None:
    make_videos(fails, folder, ["fine", "too_large", "absent", "unwritten", "fine"])


def a_lost_device(fails: bool, folder: Path) -> None:
    make_videos(fails, folder, ["too_large", "fine", "too_large", "too_large", "too_large", "fine"])


def a_job_that_fails_in_one(fails: bool, folder: Path) -> None:
    failures.PATIENCE = 3.0
    make_videos(fails, folder, ["fine", "broken", "fine"])


def a_job_that_stands_still(fails: bool, folder: Path) -> None:
    make_videos(fails, folder, ["fine", "still", "fine"], stall_minutes=5 / 60)


def make_videos(fails: bool, folder: Path, kinds: list[str], **options) -> None:
    pipeline = Pretended()
    pipeline.fails = fails
    jobs = [Job("", "", kind, str(folder / f"{number}.mp4"), {}) for number, kind in enumerate(kinds)]
    failed = run_jobs(pipeline, jobs, **options)
    print("failed", failed, flush=True)


class Pretended(ActAvatarPipeline):
    """Fails as the prompt says; in place of a program over both processes, they wait for each other."""

    def __init__(self):
        pass

    def __call__(self, image, audio, prompt, *, callback):
        with agreed():
            if prompt == "absent" and self.fails:
                raise InputError("The portrait is absent.")
            if prompt == "unwritten" and self.fails:
                raise OSError("the disk is gone")
        if prompt == "too_large":
            raise MemoryError("out of memory\non the device")
        if prompt == "broken" and self.fails:
            raise ValueError("broken")
        if prompt == "still" and self.fails:
            time.sleep(600)
        wait()
        callback(None)
        return Video(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(1280, np.float32))


OF_JOBS = (some_jobs, a_lost_device, a_job_that_fails_in_one, a_job_that_stands_still)
CASES = {function.__name__: function for function in (in_agreement, wrong_input, local_look, alone, alike, *OF_JOBS)}

if __name__ == "__main__":
    main(*sys.argv[1:])
