"""Trains a tiny model, killed by SIGKILL and started again until it is through.

Each start is left alone until one or two of its saves are finished. Then half of the kills come at a random moment of
the next save, by what a save takes on this machine, and half between two saves. The next start must go on from the last
save that was finished. In the end the model and the losses must equal, bit for bit, those of a run that was never
killed. Runs as its own process, which forks for every start:

    python -m tests.training.runtime.kill_training [--kills 20] [--seed 0]

Prints where each start began and where it was killed.
"""

import argparse
import json
import os
import signal
import statistics
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import NamedTuple

EVERY = 4  # steps between checkpoints
MOST_SAVES = 3  # of a start that is killed
ENV = {  # so that a start takes seconds
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


class Kill(NamedTuple):
    """When a start ends."""

    finished: int  # saves before it
    delay: float | None  # seconds into the next save; None: before it,
    steps: int  # so many steps after the last

    def __str__(self) -> str:
        if self.delay is None:
            return f"{self.steps} steps after save {self.finished}"
        return f"{self.delay:.3f} s into save {self.finished + 1}"


def main(kills: int, seed: int, folder: Path) -> None:
    os.environ.update(ENV, JAX_COMPILATION_CACHE_DIR=str(folder / "compiled"))
    import numpy as np

    import actavatar_jax.runs.training  # noqa: F401 - once, before the forks; no device is touched by it

    rng = np.random.default_rng(seed)
    steps = EVERY * (MOST_SAVES * kills + 1)
    whole, killed = folder / "whole", folder / "killed"
    assert start(whole, steps, folder) == 0
    seconds = statistics.median(map(float, (folder / "saves").read_text().split()))
    print(f"a save takes {seconds:.3f} s", flush=True)
    expected = 0
    for number in range(kills):
        share = float(rng.uniform(0, 1.2)) if number % 2 else None
        kill = Kill(int(rng.integers(1, MOST_SAVES)), share and share * seconds, int(rng.integers(1, EVERY)))
        status = start(killed, steps, folder, kill)
        assert status == -signal.SIGKILL, f"the run ended with {status} before its kill"
        assert began(killed) == expected, f"start {number + 1} began at {began(killed)}, not {expected}: it lost a save"
        unfinished = [path.name for path in (killed / "checkpoints").glob("*tmp*")]
        print(f"kill {number + 1}: began at step {expected}, killed {kill}; unfinished: {unfinished}", flush=True)
        least = expected + EVERY * kill.finished
        expected = newest(killed)
        assert expected in ({least} if kill.delay is None else {least, least + EVERY}), (expected, least)
    assert start(killed, steps, folder) == 0 and began(killed) == expected
    ours, theirs = outcome(killed), outcome(whole)
    assert ours["losses"] == theirs["losses"] and len(ours["losses"]) == steps // 2
    assert ours["model"] == theirs["model"]
    assert not list((killed / "checkpoints").glob("*.damaged"))
    print(f"{kills} kills: the model is bitwise that of the undisturbed run")


def start(workdir: Path, steps: int, folder: Path, kill: Kill | None = None) -> int:
    """Exit status of a child that trains; negative where a signal killed it."""
    child = os.fork()
    if child == 0:
        log = os.open(folder / "children.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            run(workdir, steps, kill, folder / "saves")
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        print((folder / "children.log").read_text()[-5000:])
    return status


def run(workdir: Path, steps: int, kill: Kill | None, seconds: Path) -> None:
    from actavatar_jax.runs import training
    from actavatar_jax.training import loop
    from configs import stage2

    class Watched(loop.Checkpoints):
        """Writes down where the run began and, in one that is not killed, how long saves take."""

        saves = 0

        def restore(self, *arguments):
            state = super().restore(*arguments)
            (workdir / "began").write_text(str(0 if state is None else int(state.step)))
            return state

        def save(self, *arguments):
            self.wait()
            self.saves += 1
            if kill and kill.delay is not None and self.saves > kill.finished:
                threading.Timer(kill.delay, die).start()
            clock = time.monotonic()
            super().save(*arguments)
            if kill is None or (kill.delay is None and self.saves == kill.finished):
                self.wait()
                recorded[0] = kill is not None and kill.steps
                with seconds.open("a") as file:
                    file.write(f"{time.monotonic() - clock}\n")

    class Counting(loop.Recorder):
        def add(self, *arguments):
            super().add(*arguments)
            if recorded[0]:
                recorded[0] -= 1
                if not recorded[0]:
                    die()

    recorded = [0]  # steps that are left, once the last save before the kill is finished
    loop.Checkpoints, loop.Recorder = Watched, Counting
    config = stage2.get_config("runlocal")
    config.steps, config.log_every, config.checkpoint_every = str(steps), "2", str(EVERY)
    config.optim.ema_decay = 0.9
    training.run_training(config, workdir)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def began(workdir: Path) -> int:
    return int((workdir / "began").read_text())


def newest(workdir: Path) -> int:
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()]
    return max(steps, default=0)


def outcome(workdir: Path) -> dict:
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    model = {path.name: path.read_bytes() for path in sorted((workdir / "model" / "transformer").iterdir())}
    return {"losses": [(r["step"], r["loss"], r["grad_norm"]) for r in records], "model": model}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        main(options.kills, options.seed, Path(temporary))
