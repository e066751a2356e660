import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal

import grain
import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER
from actavatar_jax.training import loop
from actavatar_jax.training.runtime.guard import StopRequest


def train(settings, world, batches, workdir, **visits):
    """A run that is described by its settings."""
    described = json.loads(json.dumps(dataclasses.asdict(settings)))
    may_change = {"log_every", "checkpoint_every", "sample_every", "bad_steps", "steps"}
    about = {"described": described, "may_change": may_change}
    return loop.train(settings, world.network, world.open_params, batches, workdir, **about, **visits)


class Killed(BaseException):
    pass


class Interrupted(grain.DatasetIterator):
    """Batches, with something else in the place of those with these numbers (from 1)."""

    def __init__(self, batches, at, instead):
        super().__init__()
        self.batches, self.at, self.instead, self.number = batches, at, instead, 0

    def __next__(self):
        self.number += 1
        batch = next(self.batches)
        return self.instead(batch) if self.number in self.at else batch

    def get_state(self):
        return self.batches.get_state()

    def set_state(self, state):
        self.batches.set_state(state)


def kill(_):
    raise Killed


def terminate(batch):
    os.kill(os.getpid(), signal.SIGTERM)
    return batch


def poison(batch):
    return {**batch, "latents": np.full_like(batch["latents"], np.nan)}


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [(r["step"], r["loss"], r["grad_norm"], r["learning_rate"]) for r in map(json.loads, lines)]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """(workdir, final state, place in the data, sampled steps, finished steps) of an undisturbed run of 8 steps."""
    workdir, batches, sampled, finished = tmp_path_factory.mktemp("whole"), world.batches(), [], []
    state = train(
        world.settings(stage=1, sample_every=3),
        world,
        batches,
        workdir,
        sample=lambda params, step: sampled.append((step, np.linalg.norm(params["head"]["out"]["kernel"]))),
        finish=lambda params, step: finished.append(step),
    )
    return workdir, state, batches.get_state(), sampled, finished


def test_further_signals_do_not_cut_the_save_short():
    with StopRequest() as stop:
        assert not stop.after(1)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.after(2)


def test_killed_and_restarted_equals_undisturbed_bit_for_bit(whole, world, tmp_path):
    workdir, state, place, _, _ = whole
    settings = world.settings(stage=1)
    with pytest.raises(Killed):  # checkpoint at step 4, records up to step 4 or 6, then the end
        train(settings, world, Interrupted(world.batches(), [8], kill), tmp_path)
    batches = world.batches()
    resumed = train(settings, world, batches, tmp_path)
    assert int(resumed.step) == 8
    assert same(resumed, state)  # parameters, moments, average, counts
    assert batches.get_state() == place
    assert losses(tmp_path) == losses(workdir)
    assert [step for step, *_ in losses(tmp_path)] == [2, 4, 6, 8]


def test_a_run_that_goes_on_reads_nothing_that_its_checkpoint_holds(whole, world, tmp_path):
    shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True)
    every = functional.flatten(world.params())
    train(world.settings(stage=1), world, world.batches(), tmp_path)
    assert world.opened == {name for name in every if not re.fullmatch(ADAPTER, name)}
    train(world.settings(stage=1), world, world.batches(), tmp_path / "anew")
    assert world.opened == every.keys()


def test_sigterm_saves_and_exits_with_code_75_and_the_run_goes_on_there(whole, world, tmp_path, caplog):
    settings, before = world.settings(stage=1), signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        train(settings, world, Interrupted(world.batches(), [3], terminate), tmp_path)
    assert left.value.code == 75
    assert "the state of step 3 is saved" in caplog.text
    assert "the state of step 3 is saved" in (tmp_path / "logs" / "host-0.log").read_text()
    assert signal.getsignal(signal.SIGTERM) == before
    assert same(train(settings, world, world.batches(), tmp_path), whole[1])


def test_a_work_folder_in_use_is_refused_until_the_other_run_has_ended(world, tmp_path):
    settings = world.settings(stage=1, steps=1)
    with (tmp_path / "run.lock").open("a+") as other:
        other.write("process 7 on elsewhere")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"in use by another run \(process 7 on elsewhere\)"):
            train(settings, world, world.batches(), tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run.lock"]
    assert int(train(settings, world, world.batches(), tmp_path).step) == 1


def test_a_mesh_that_does_not_fit_is_refused_before_there_is_a_state(world, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "create_state", None)
    with pytest.raises(InputError, match="4 does not divide by data x fsdp = 1 in 3 micro-batches"):
        train(world.settings(stage=1, micro_batches=3), world, world.batches(), tmp_path)
    with pytest.raises(InputError, match="needs 2 devices"):
        train(world.settings(stage=1, mesh="2,1,1"), world, world.batches(), tmp_path)


def test_checkpoints_hold_no_frozen_parameter(whole):
    workdir = whole[0]
    stored = json.loads((workdir / "checkpoints" / "8" / "state" / "_METADATA").read_text())["tree_metadata"]
    names = [value["key_metadata"] for value in stored.values()]
    paths = ["/".join(part["key"] for part in name) for name in names]
    assert any("audio_attn" in path for path in paths)
    assert not [path for path in paths if "self_attn" in path or "head" in path]


def test_samples_are_made_on_time_and_the_model_is_finished_once(whole):
    sampled, finished = whole[3:]
    assert [step for step, _ in sampled] == [3, 6, 8]
    assert all(norm > 0 for _, norm in sampled)
    assert finished == [8]


def test_a_finished_run_trains_no_further(whole, world):
    workdir, state, _, _, _ = whole
    finished = []
    again = train(
        world.settings(stage=1),
        world,
        world.batches(),
        workdir,
        finish=lambda params, step: finished.append(step),
    )
    assert same(again, state)
    assert finished == [8]


def test_checkpoints_of_another_run_are_refused(whole, world):
    workdir = whole[0]
    optim = dataclasses.replace(world.settings().optim, clip=2.0)
    settings = world.settings(stage=1, optim=optim, log_every=4)  # the last of which may change
    with pytest.raises(InputError, match=r"other settings: optim.clip \(1.0 then, 2.0 now\);"):
        train(settings, world, world.batches(), workdir)


def test_a_poisoned_batch_is_skipped_and_counted(world, tmp_path):
    state = train(world.settings(stage=1), world, Interrupted(world.batches(), [4], poison), tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.ema, state.opt_state)))
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["skipped"] for record in records] == [0, 1, 1, 1]
    assert all(np.isfinite(record["loss"]) for record in records)


def test_divergence_stops_the_run_and_keeps_the_last_good_state(world, tmp_path):
    settings = world.settings(stage=1, checkpoint_every=3, bad_steps=2)
    with pytest.raises(FloatingPointError, match=r"2 steps in a row .* at step 5 with loss nan"):
        train(settings, world, Interrupted(world.batches(), range(4, 9), poison), tmp_path)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["3", "6"]
    state = train(dataclasses.replace(settings, steps=6), world, world.batches(), tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.ema, state.opt_state)))
