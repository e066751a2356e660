"""Kills, stalls, another mesh, and hosts that disagree."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.runs import training
from actavatar_jax.training.runtime.guard import UNFINISHED
from actavatar_jax.training.runtime.watchdog import Watchdog
from actavatar_jax.training.runtime.workdir import refuse_differing
from configs import stage2

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_killed_at_random_moments_the_result_is_bitwise_that_of_an_undisturbed_run():
    command = [sys.executable, "-m", "tests.training.runtime.kill_training", "--kills", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 kills: the model is bitwise" in done.stdout


def test_a_run_that_stands_still_dumps_its_stacks_and_exits_to_be_started_again(tmp_path, monkeypatch, caplog):
    exits = []
    monkeypatch.setattr("actavatar_jax.training.runtime.watchdog.os._exit", exits.append)

    def a_collective_that_hangs(watchdog):
        while not exits:
            time.sleep(0.01)
        watchdog.done.set()  # in earnest the process is gone now

    with Watchdog(0.2 / 60, tmp_path / "host-0.log") as watchdog:
        a_collective_that_hangs(watchdog)
    watchdog.thread.join()
    assert set(exits) == {UNFINISHED}
    assert "a_collective_that_hangs" in (tmp_path / "host-0.log").read_text()
    assert "No step for" in caplog.text


def test_without_a_file_the_stacks_go_to_standard_error(monkeypatch, capfd):
    exits = []
    monkeypatch.setattr("actavatar_jax.training.runtime.watchdog.os._exit", exits.append)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with Watchdog(0.1 / 60) as watchdog:
        while not exits:
            time.sleep(0.01)
        watchdog.done.set()
    watchdog.thread.join()
    assert "test_without_a_file_the_stacks" in capfd.readouterr().err


@pytest.mark.slow
def test_steps_and_pauses_keep_the_watchdog_quiet(tmp_path, monkeypatch):
    exits = []
    monkeypatch.setattr("actavatar_jax.training.runtime.watchdog.os._exit", exits.append)
    with Watchdog(1.5 / 60, tmp_path / "log") as watchdog:
        with watchdog.paused():
            time.sleep(2)
        for _ in range(8):
            time.sleep(0.25)
            watchdog.beat()
    with Watchdog(0.0, tmp_path / "log"):  # off
        time.sleep(0.1)
    assert not exits


def test_hosts_with_other_settings_are_refused_naming_process_and_setting():
    ours = {"seed": 0, "optim": {"clip": 1.0}}
    refuse_differing([ours, ours])
    with pytest.raises(InputError, match=r"optim.clip is 1.0 in process 0 and 2.0 in process 2; start all"):
        refuse_differing([ours, ours, {"seed": 0, "optim": {"clip": 2.0}}])
    with pytest.raises(InputError, match="mesh is None in process 0 and 1,1,2 in process 1"):
        refuse_differing([ours, ours | {"mesh": "1,1,2"}])


@pytest.mark.slow
def test_a_run_goes_on_on_another_mesh_with_the_same_data(tmp_path, quick_compilation):
    """Four steps on four devices by the launcher, four on one: the losses are those of one device throughout."""
    settings = {"precision": "float32", "log_every": "1", "checkpoint_every": "4"}
    command = [sys.executable, "launch/train.py", "--config=configs/stage2.py:runlocal", f"--workdir={tmp_path}/moved"]
    changes = [f"--config.{name}={value}" for name, value in {**settings, "mesh": "1,2,2", "steps": 4}.items()]
    environment = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = subprocess.run(
        [*command, *changes, "--config.data.bucket=(32,64,13)"],
        cwd=ROOT,
        env=os.environ | environment | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    losses = {}
    for workdir in (tmp_path / "moved", tmp_path / "whole"):
        config = stage2.get_config("runlocal")
        config.update(settings | {"steps": "8"})
        config.data.bucket = (32, 64, 13)
        training.run_training(config, workdir)
        losses[workdir.name] = [json.loads(line)["loss"] for line in (workdir / "metrics.jsonl").open()]
    assert len(losses["whole"]) == 8
    assert losses["moved"] == pytest.approx(losses["whole"], rel=1e-3)
