import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER
from actavatar_jax.training import course, loop, optimizer
from actavatar_jax.training.optimizer import skipped_steps
from actavatar_jax.training.runtime.guard import StopRequest


def train(settings, world, batches, workdir, **visits):
    """A run that is described by its settings."""
    described = json.loads(json.dumps(dataclasses.asdict(settings)))
    may_change = {"log_every", "checkpoint_every", "sample_every", "heldout_every", "bad_steps", "steps"}
    may_change |= {"optim.learning_rate"}
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


def saved(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    records = (record for record in map(json.loads, lines) if "loss" in record)
    return [(r["step"], r["loss"], r["grad_norm"], r["learning_rate"]) for r in records]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """(workdir, final state, place in the data, sampled steps, finished steps) of an undisturbed run of 8 steps."""
    workdir, batches, sampled, finished = tmp_path_factory.mktemp("whole"), world.batches(), [], []

    def sample(params, step):
        sampled.append((step, np.linalg.norm(params["head"]["out"]["kernel"])))
        return {"sample/sync_c": step / 2} if step > 3 else None

    state = train(
        world.settings(stage=1, sample_every=3),
        world,
        batches,
        workdir,
        sample=sample,
        finish=lambda params, step: finished.append(step),
    )
    return workdir, state, batches.get_state(), sampled, finished


def test_further_signals_do_not_cut_the_save_short():
    with StopRequest() as stop:
        assert not stop.after(1)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.after(2)


@pytest.mark.slow
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
    records = [json.loads(line) for line in (whole[0] / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == sorted(record["step"] for record in records)
    found = [record for record in records if "sample/sync_c" in record]
    assert found == [{"step": 6, "sample/sync_c": 3.0}, {"step": 8, "sample/sync_c": 4.0}]
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


def test_a_poisoned_batch_is_skipped_counted_and_used_up(whole, world, tmp_path):
    batches = Interrupted(world.batches(), [4], poison)
    state = train(world.settings(stage=1), world, batches, tmp_path)
    assert batches.get_state() == whole[2]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state.params, state.ema, state.opt_state)))
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["skipped"] for record in records] == [0, 1, 1, 1]
    assert all(np.isfinite(record["loss"]) for record in records)


@pytest.mark.parametrize(
    ("first", "advice"),
    [
        (2, "There is no checkpoint yet: start it again with a lower optim.learning_rate"),
        (4, "From the checkpoint of step 3 on no gradient was usable: move it away to start anew"),
        (5, "There is the checkpoint of step 3: start it again with a lower optim.learning_rate"),
    ],
)
def test_a_run_that_diverges_says_what_to_do(world, tmp_path, first, advice):
    settings = world.settings(stage=1, checkpoint_every=3, bad_steps=2)
    with pytest.raises(FloatingPointError) as error:
        train(settings, world, Interrupted(world.batches(), range(first, 9), poison), tmp_path)
    assert str(error.value) == (
        f"2 steps in a row had to be skipped, at step {first + 1} with loss nan, gradient norm nan: the run has "
        f"diverged and stops. {advice}, or look at the data."
    )


def test_amid_skipped_steps_nothing_is_saved_but_after_them(world, tmp_path):
    train(world.settings(stage=1), world, Interrupted(world.batches(), [4, 5], poison), tmp_path)
    assert saved(tmp_path) == ["6", "8"]


def test_asked_to_end_amid_skipped_steps_a_run_goes_on_from_the_checkpoint_before(world, tmp_path, caplog):
    settings = world.settings(stage=1, checkpoint_every=2)
    batches = Interrupted(world.batches(), [3], lambda batch: terminate(poison(batch)))
    with pytest.raises(SystemExit) as left:
        train(settings, world, batches, tmp_path)
    assert left.value.code == 75
    assert "Asked to end at step 3, amid skipped steps: the run will go on from the checkpoint before" in caplog.text
    assert saved(tmp_path) == ["2"]


def test_the_loss_is_shown_from_the_step_on_from_which_it_is_known(world, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(course.tqdm, "set_postfix", lambda bar, loss, **_: shown.append(loss))
    for steps in (3, 5):
        train(world.settings(stage=1, steps=steps), world, world.batches(), tmp_path)
    assert len(shown) == 3 and "nan" not in shown  # at the first step of each start nothing is known


def leap(optim, steps):
    """A rate that wrecks the weights at step 6, if it is high."""
    return lambda step: jnp.where(step < 5, 1e-3, optim.learning_rate)


@pytest.mark.slow
def test_a_run_that_diverges_keeps_its_sound_checkpoint_and_goes_on_from_it_at_a_lower_rate(
    world, tmp_path, monkeypatch
):
    for module in (loop, optimizer):
        monkeypatch.setattr(module, "make_schedule", leap)
    settings = world.settings(stage=1, checkpoint_every=3, bad_steps=3, steps=12)
    high = dataclasses.replace(settings, optim=dataclasses.replace(settings.optim, learning_rate=1e38))
    for _ in range(3):
        with pytest.raises(FloatingPointError, match=r"3 steps in a row .* at step 9 .* the checkpoint of step 3"):
            train(high, world, world.batches(), tmp_path)
        assert saved(tmp_path) == ["3"]  # the weights of step 6 were made by a usable gradient, and are of no use
        assert (tmp_path / "checkpoints" / "6.diverged").is_dir()
    state = train(settings, world, world.batches(), tmp_path)
    assert int(state.step) == 12
    undisturbed = train(settings, world, world.batches(), tmp_path / "anew")
    assert same(state, undisturbed)


def test_a_run_that_is_started_again_counts_skipped_steps_in_a_row_anew(whole, world, tmp_path, monkeypatch):
    shutil.copytree(whole[0] / "checkpoints" / "4", tmp_path / "checkpoints" / "4")
    restore = loop.Checkpoints.restore

    def amid_skipped_steps(self, *arguments):
        state = restore(self, *arguments)
        return dataclasses.replace(state, opt_state=state.opt_state._replace(in_a_row=9 + 0 * state.opt_state.in_a_row))

    monkeypatch.setattr(loop.Checkpoints, "restore", amid_skipped_steps)
    state = train(world.settings(stage=1), world, Interrupted(world.batches(), [2], poison), tmp_path)
    assert skipped_steps(state.opt_state).tolist() == [0, 1]
