"""Trains a tiny model, killed by SIGKILL at random moments and started again until it is through.

Half of the kills come during or soon after a save; the later ones must find checkpoints to go on from. In the end the
model and the losses must equal, bit for bit, those of a run that was never killed. Runs as its own process, which forks
for every start: python -m tests.training.runtime.kill_training [--kills 20] [--seed 0]. Prints where each start began
and where it was killed.
"""

import argparse
import json
import os
import signal
import tempfile
import threading
from pathlib import Path

EVERY = 4  # steps between checkpoints
ENV = {  # so that a start takes seconds
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def main(kills: int, seed: int, folder: Path) -> None:
    os.environ.update(ENV, JAX_COMPILATION_CACHE_DIR=str(folder / "compiled"))
    import numpy as np

    import actavatar_jax.runs.training  # noqa: F401 - once, before the forks; no device is touched by it

    rng = np.random.default_rng(seed)
    steps = 4 * EVERY * (kills + 1)  # a save waits for the one before, so no start gets further than four
    begun = []
    assert start(folder / "whole", steps, folder) == 0
    for kill in range(kills):
        in_save = kill % 2 == 1
        at = int(rng.integers(1, 3) if in_save else rng.integers(1, 3 * EVERY))  # number of the save, or of the step
        delay = float(rng.uniform(0, 0.2 if in_save else 0.05))
        begun.append(newest(folder / "killed"))
        status = start(folder / "killed", steps, folder, (in_save, at, delay))
        moment = f"{delay:.3f} s into save {at}" if in_save else f"{delay:.3f} s after step {at}"
        unfinished = [path.name for path in (folder / "killed" / "checkpoints").glob("*tmp*")]
        print(
            f"kill {kill + 1}: began at step {begun[-1]}, killed {moment} of this start; unfinished: {unfinished}",
            flush=True,
        )
        assert status == -signal.SIGKILL, f"the run ended with {status} before its kill"
    assert newest(folder / "killed") > 0 and len(set(begun)) > kills // 4, f"starts began at {begun}: they lost it all"
    assert start(folder / "killed", steps, folder) == 0
    whole, killed = (outcome(folder / name) for name in ("whole", "killed"))
    assert whole["losses"] == killed["losses"] and len(whole["losses"]) == steps // 2
    assert whole["model"] == killed["model"]
    assert not list((folder / "killed" / "checkpoints").glob("*.damaged"))
    print(f"{kills} kills: the model is bitwise that of the undisturbed run")


def start(workdir: Path, steps: int, folder: Path, kill: tuple[bool, int, float] | None = None) -> int:
    """Exit status of a child that trains; negative where a signal killed it."""
    child = os.fork()
    if child == 0:
        log = os.open(folder / "children.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            run(workdir, steps, kill)
            code = 0
        finally:
            if code:
                import traceback

                traceback.print_exc()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        print((folder / "children.log").read_text()[-5000:])
    return status


def run(workdir: Path, steps: int, kill: tuple[bool, int, float] | None) -> None:
    from actavatar_jax.runs import training
    from actavatar_jax.training import loop
    from configs import stage2

    if kill:
        in_save, at, delay = kill
        owner, name = (loop.Checkpoints, "save") if in_save else (loop.Recorder, "add")
        setattr(owner, name, armed(getattr(owner, name), at, delay))
    config = stage2.get_config("runlocal")
    config.steps, config.log_every, config.checkpoint_every = str(steps), "2", str(EVERY)
    config.optim.ema_decay = 0.9
    training.run_training(config, workdir)


def armed(function, at: int, delay: float):
    """`function`, whose call number `at` makes the process kill itself `delay` seconds later."""
    left = [at]

    def call(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return function(*args, **kwargs)

    return call


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
