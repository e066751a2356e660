"""Steps of pairs: the gradient of plain preference where nothing has been learnt, and then the preferred video wins."""

import dataclasses
import itertools
import json

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.training.objective import AvatarObjective
from actavatar_jax.training.preference import Alternating, PreferenceSettings, preference_losses
from actavatar_jax.training.state import TrainState
from actavatar_jax.training.step import make_train_step, noisy_losses, pair_losses
from tests.training.test_loop import Interrupted, Killed, kill, same, train

BETA, OBJECTIVE = 50.0, AvatarObjective()
SETTINGS = PreferenceSettings(BETA)


def pair_batch(world, seed=0, batch_size=2):
    """Made-up clips; the rejected ones have all colours reversed."""
    batch = dict(next(world.batches(batch_size, seed)))
    return batch | {"rejected": -batch["latents"]}


def missed(world, params, batch):
    """Errors of the preferred and of the rejected videos."""
    model = world.network.bind(params)
    draws = OBJECTIVE.draw(batch, world.key)
    conditions = OBJECTIVE.condition(model, batch, draws)
    videos = (batch[name].astype(jnp.float32) for name in ("latents", "rejected"))
    return jnp.stack([noisy_losses(model, video, conditions, draws) for video in videos])


# ---- the loss


def test_the_loss_is_the_logistic_one_of_what_was_gained():
    before, now = np.float32([[1.0, 2.0], [1.5, 3.0]]), np.float32([[0.9, 2.0], [1.6, 2.5]])
    losses, margins = preference_losses(jnp.asarray(now), jnp.asarray(before), 20.0)
    np.testing.assert_allclose(margins, [0.1 + 0.1, 0.0 - 0.5], rtol=1e-5)
    np.testing.assert_allclose(losses, [-np.log(1 / (1 + np.exp(-2.0))), -np.log(1 / (1 + np.exp(5.0)))], rtol=1e-5)
    same, _ = preference_losses(jnp.asarray(before), jnp.asarray(before), 20.0)
    np.testing.assert_allclose(same, np.log(2), rtol=1e-6)


def test_where_the_model_is_the_reference_the_gradient_is_that_of_plain_preference(world):
    """At zero margin the loss falls by beta / 4 of what the preferred videos are missed less than the others."""
    params, batch = jax.tree.map(jnp.asarray, world.params()), jax.device_put(pair_batch(world))

    def of_pairs(params):
        losses, _ = pair_losses(
            world.network.bind(params), world.network.bind(world.params()), batch, OBJECTIVE, SETTINGS, world.key
        )
        return losses.mean()

    def plain(params):
        preferred, rejected = missed(world, params, batch)
        return BETA / 4 * (preferred - rejected).mean()

    ours, theirs = (jax.jit(jax.grad(f))(params) for f in (of_pairs, plain))
    assert float(jax.jit(of_pairs)(params)) == pytest.approx(np.log(2), rel=1e-5)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4 * max(1.0, np.abs(other).max()), rtol=1e-3)


class Fading:
    """Takes a part of what it sees for the velocity, place by place."""

    def __init__(self, part):
        self.part = part

    def condition(self, *_):
        return None

    def __call__(self, noisy, times, conditions):
        return self.part * noisy


def test_what_is_missed_at_hands_and_faces_weighs_more(world):
    """Videos that differ in all regions, or elsewhere: half of the places weigh five times as much."""
    batch, weighed = pair_batch(world), PreferenceSettings(BETA, region_weight=5.0)
    regions = np.zeros(batch["latents"].shape[:4], np.uint8)
    regions[:, :, : regions.shape[2] // 2] = 1
    inside = regions[..., None].astype(bool)

    def margin(where, settings):
        pair = {**batch, "regions": regions, "rejected": np.where(where, -batch["latents"], batch["latents"])}
        losses, _ = pair_losses(Fading(0.5), Fading(0.6), jax.device_put(pair), OBJECTIVE, settings, world.key)
        return -np.log(np.expm1(np.asarray(losses, np.float64)))

    for where, share in ((inside, 5 / 3), (~inside, 1 / 3)):
        plain = margin(where, SETTINGS)
        assert np.abs(plain).min() > 1e-3
        np.testing.assert_allclose(margin(where, weighed), share * plain, rtol=1e-4)


@pytest.mark.slow
def test_the_preferred_videos_are_missed_less_and_the_others_more(world):
    tx = world.optimizer(2)
    step = make_train_step(
        world.network, tx, OBJECTIVE, lambda step: 1e-3, preference=PreferenceSettings(BETA), micro_batches=1
    )
    fresh = TrainState.create(world.params(), {}, tx)
    state = dataclasses.replace(fresh, reference=jax.tree.map(jnp.asarray, world.params()))
    batch = jax.device_put(pair_batch(world))
    before = missed(world, world.params(), batch)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch, world.key)
        losses.append(float(metrics["loss"]))
        assert bool(metrics["of_pairs"])
    after = missed(world, state.params, batch)
    gained = np.asarray(before - after)
    assert losses[0] == pytest.approx(np.log(2), rel=1e-4) and losses[-1] < 0.5 * losses[0]
    assert (gained[0] > gained[1]).all() and gained[1].mean() < gained[0].mean() - 0.01
    assert same(state.reference, world.params())


# ---- the run


class Counted(grain.DatasetIterator):
    """Numbers, with a place."""

    def __init__(self, name):
        super().__init__()
        self.name, self.place = name, 0

    def __next__(self):
        self.place += 1
        return {self.name: self.place}

    def get_state(self):
        return self.place

    def set_state(self, state):
        self.place = state


def test_one_batch_of_so_many_is_of_pairs_and_a_run_goes_on_amid_them():
    whole = Alternating(Counted("s"), Counted("p"), 3)
    seven = list(itertools.islice(whole, 7))
    assert seven == [{"s": 1}, {"s": 2}, {"p": 1}, {"s": 3}, {"s": 4}, {"p": 2}, {"s": 5}]
    state = json.loads(json.dumps(whole.get_state()))
    again = Alternating(Counted("s"), Counted("p"), 3)
    again.set_state(state)
    assert list(itertools.islice(again, 3)) == list(itertools.islice(whole, 3)) == [{"s": 6}, {"p": 3}, {"s": 7}]


class Pairs(grain.DatasetIterator):
    """Batches of pairs for ever, with a place."""

    def __init__(self, world):
        super().__init__()
        self.world, self.place = world, 0

    def __next__(self):
        self.place += 1
        return pair_batch(self.world, 10 * self.place, 4)

    def get_state(self):
        return self.place

    def set_state(self, state):
        self.place = state


@pytest.mark.slow
def test_a_run_with_pairs_that_was_killed_goes_on_bit_for_bit(world, tmp_path):
    """The reference is not in the checkpoint: it is read again, as the model was before the first step."""
    settings = world.settings(preference=PreferenceSettings(BETA), steps=8, checkpoint_every=4)

    def batches():
        return Alternating(world.batches(), Pairs(world), 3)

    whole = train(settings, world, batches(), tmp_path / "whole")
    with pytest.raises(Killed):
        train(settings, world, Interrupted(batches(), {7}, kill), tmp_path / "killed")
    parts = train(settings, world, batches(), tmp_path / "killed")
    assert same(parts.params, whole.params)
    assert same(parts.reference, world.params()) and not same(whole.params, world.params())
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [("loss" in row, "preference_loss" in row) for row in rows] == [(True, False)] + [(True, True)] * 2 + [
        (True, False)
    ]


def test_beta_is_positive():
    with pytest.raises(InputError, match=r"preference\.beta is 0"):
        PreferenceSettings(0.0)
    with pytest.raises(InputError, match=r"preference\.region_weight is -1"):
        PreferenceSettings(1.0, region_weight=-1.0)
