"""`launch/train.py --distributed` in two real processes that find each other on this machine."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actavatar_jax import experiment
from configs import stage2

ROOT = Path(__file__).parents[2]
SETTINGS = {"precision": "float32", "log_every": "1", "checkpoint_every": "0"}
PATIENCE = 600  # seconds, for a machine that does something else as well


@contextlib.contextmanager
def two(workdir, compiled, *changes):
    """Two processes with a device each, the model cut over both; `changes`: settings of each of them."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    command = [sys.executable, "launch/train.py", "--distributed", "--config=configs/stage2.py:runlocal"]
    shared = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_COMPILATION_CACHE_DIR": str(compiled)}
    shared |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}
    shared |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [*command, f"--workdir={workdir}", *(f"--config.{name}={value}" for name, value in settings.items())],
            cwd=ROOT,
            env=os.environ | shared | {"JAX_PROCESS_ID": str(process)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for process, settings in enumerate(changes)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ends(processes):
    """(exit code, standard error) of each."""
    errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def records(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def run(workdir, steps):
    config = stage2.get_config("runlocal")
    config.update(SETTINGS | {"steps": str(steps)})
    return experiment.run(config, workdir)


def test_hosts_that_disagree_end_with_one_error_each_before_any_work(tmp_path, compiled):
    settings = {"mesh": "1,2,1", "steps": "2"}
    with two(tmp_path / "run", compiled, settings | {"seed": 3}, settings | {"seed": 4}) as processes:
        both = ends(processes)
    for code, error in both:
        assert code == 2, error
        said = [line for line in error.splitlines() if line.startswith("error: ")]
        assert said == [
            "error: The hosts disagree: seed is 3 in process 0 and 4 in process 1; start all of them with the same "
            "settings."
        ]
    assert not (tmp_path / "run").exists()


def test_a_signal_to_one_process_saves_in_both_and_one_alone_goes_on_there(tmp_path, compiled, quick_compilation):
    workdir = tmp_path / "run"
    settings = SETTINGS | {"mesh": "1,2,1", "steps": "1000000"}
    with two(workdir, compiled, settings, settings) as processes:
        deadline = time.monotonic() + PATIENCE
        while not (workdir / "metrics.jsonl").exists() and time.monotonic() < deadline:  # until the first step
            assert processes[0].poll() is None, ends(processes)
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGTERM)
        both = ends(processes)
    assert [code for code, _ in both] == [75, 75], both
    [step] = [int(path.name) for path in (workdir / "checkpoints").iterdir()]
    assert step == records(workdir)[-1]["step"] > 0
    for process in range(2):
        log = (workdir / "logs" / f"host-{process}.log").read_text()
        assert f"the state of step {step} is saved" in log
    assert not (workdir / "model").exists()

    assert int(run(workdir, step + 2).step) == step + 2
    assert [record["step"] for record in records(workdir)] == list(range(1, step + 3))
    run(tmp_path / "whole", step + 2)
    losses, whole = ([record["loss"] for record in records(folder)] for folder in (workdir, tmp_path / "whole"))
    assert losses == pytest.approx(whole, rel=1e-3)
