import json

import grain
import jax
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.training.loop import train


class Killed(BaseException):
    pass


class Interrupted(grain.DatasetIterator):
    """Batches, with something else in the place of number `at` (from 1)."""

    def __init__(self, batches, at, instead):
        super().__init__()
        self.batches, self.left, self.instead = batches, at, instead

    def __next__(self):
        self.left -= 1
        batch = next(self.batches)
        return batch if self.left else self.instead(batch)

    def get_state(self):
        return self.batches.get_state()

    def set_state(self, state):
        self.batches.set_state(state)


def kill(_):
    raise Killed


def poison(batch):
    return {**batch, "latents": np.full_like(batch["latents"], np.nan)}


def same(a, b):
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [(r["step"], r["loss"], r["grad_norm"]) for r in map(json.loads, lines)]


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """(workdir, final state, place in the data, sampled steps, finished steps) of an undisturbed run of 8 steps."""
    workdir, batches, sampled, finished = tmp_path_factory.mktemp("whole"), world.batches(), [], []
    config = world.config(stage=1)
    config.sample.every = 3
    state = train(
        config,
        world.model,
        world.params(),
        batches,
        workdir,
        sample=lambda params, step: sampled.append((step, np.linalg.norm(params["head"]["out"]["kernel"]))),
        finish=lambda params, step: finished.append(step),
    )
    return workdir, state, batches.get_state(), sampled, finished


def test_killed_and_restarted_equals_undisturbed_bit_for_bit(whole, world, tmp_path):
    workdir, state, place, _, _ = whole
    config = world.config(stage=1)
    with pytest.raises(Killed):  # checkpoint at step 4, records up to step 4 or 6, then the end
        train(config, world.model, world.params(), Interrupted(world.batches(), 8, kill), tmp_path)
    batches = world.batches()
    resumed = train(config, world.model, world.params(), batches, tmp_path)
    assert int(resumed.step) == 8
    assert same(resumed, state)  # parameters, moments, average, counts
    assert batches.get_state() == place
    assert losses(tmp_path) == losses(workdir)
    assert [step for step, _, _ in losses(tmp_path)] == [2, 4, 6, 8]


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
        world.config(stage=1),
        world.model,
        world.params(),
        world.batches(),
        workdir,
        finish=lambda params, step: finished.append(step),
    )
    assert same(again, state)
    assert finished == [8]


def test_checkpoints_of_another_run_are_refused(whole, world):
    workdir = whole[0]
    config = world.config(stage=1, clip=2.0)
    config.log_every = 4  # may change
    with pytest.raises(InputError, match=r"other settings: optim.clip \(1.0 then, 2.0 now\);"):
        train(config, world.model, world.params(), world.batches(), workdir)


def test_divergence_stops_the_run_before_it_is_stored(world, tmp_path):
    config = world.config(stage=1)
    config.checkpoint_every = 2
    with pytest.raises(FloatingPointError, match="loss is nan at step 4"):
        train(config, world.model, world.params(), Interrupted(world.batches(), 4, poison), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()] == ["2"]
