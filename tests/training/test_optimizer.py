import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.training.optimizer import SETTLED, forget_streak, make_optimizer, make_schedule, skipped_steps
from actavatar_jax.training.settings import OptimizerSettings

PLAIN = OptimizerSettings(
    learning_rate=0.1,
    schedule="constant",
    warmup=1,
    decay=0,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    weight_decay=0.0,
    clip=1.0,
    moments="float32",
    ema_decay=0.0,
)


def optimizer(speeds, explode=0.0, **changes):
    return make_optimizer(dataclasses.replace(PLAIN, **changes), 10, speeds, explode)


def rates(steps, at, **changes):
    """The learning rate after so many steps."""
    schedule = make_schedule(dataclasses.replace(PLAIN, **changes), steps)
    return [float(schedule(step)) for step in at]


def test_a_constant_rate_holds_after_the_warm_up_and_falls_to_zero_over_the_last_steps_that_it_is_told():
    assert rates(10, range(6), warmup=4) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    assert rates(10, (5, 6, 7, 9, 10, 12), decay=4) == pytest.approx([0.1, 0.1, 0.075, 0.025, 0.0, 0.0])
    assert rates(10, (9, 10, 1000)) == pytest.approx([0.1, 0.1, 0.1])  # which has no end


def test_a_cosine_falls_from_the_warm_up_to_the_end_of_the_run():
    at = (0, 9, 10, 35, 60, 110, 120)
    falling = [0.01, 0.1, 0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.0, 0.0]
    assert rates(110, at, schedule="cosine", warmup=10) == pytest.approx(falling, abs=1e-8)
    assert rates(110, (0, 110), schedule="cosine", warmup=0, decay=50) == pytest.approx([0.1, 0.0], abs=1e-8)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_longer_than_the_run_is_cut_off(schedule):
    assert rates(2, (0, 1), schedule=schedule, warmup=5) == pytest.approx([0.02, 0.04])


def test_eps_stands_beside_the_root_of_the_second_moment():
    """Adam's first step is rate * g / (|g| + eps): small where the gradient is no larger than eps."""
    params, gradient = {"a": {"bias": jnp.zeros(1)}}, {"a": {"bias": jnp.full(1, 1e-6)}}
    for eps, moved in ((1e-8, 0.1 / 1.01), (1e-6, 0.05)):
        tx = optimizer({"a/bias": 1.0}, eps=eps)
        updates, _ = tx.update(gradient, tx.init(params), params)
        assert float(updates["a"]["bias"][0]) == pytest.approx(-moved, rel=1e-4)


def test_an_optimizer_that_goes_on_has_the_rate_of_the_step_it_is_at():
    """Adam moves by the rate while the gradient stays the same."""
    params, gradient = {"a": {"bias": jnp.zeros(1)}}, {"a": {"bias": jnp.ones(1)}}
    changes = {"schedule": "cosine", "warmup": 3}

    def steps(state, count):
        moved, tx = [], optimizer({"a/bias": 1.0}, **changes)  # made anew, as by another process
        for _ in range(count):
            update, state = tx.update(gradient, state, params)
            moved.append(-float(update["a"]["bias"][0]))
        return moved, state

    first, state = steps(optimizer({"a/bias": 1.0}, **changes).init(params), 4)
    rest, _ = steps(state, 6)
    assert first + rest == pytest.approx(rates(10, range(10), **changes), rel=1e-4)


def test_multipliers_scale_the_update_of_their_parameters():
    """Adam's first update is the learning rate times the gradient's sign."""
    params = {"slow": {"bias": jnp.ones(2)}, "fast": {"bias": jnp.ones(2)}}
    tx = optimizer({"slow/bias": 1.0, "fast/bias": 10.0, "frozen/bias": None})
    updates, _ = tx.update({"slow": {"bias": jnp.ones(2)}, "fast": {"bias": -jnp.ones(2)}}, tx.init(params), params)
    np.testing.assert_allclose(updates["slow"]["bias"], -0.1, rtol=1e-4)
    np.testing.assert_allclose(updates["fast"]["bias"], 1.0, rtol=1e-4)


def test_weight_decay_acts_on_kernels_only():
    params = {"a": {"kernel": jnp.ones(2), "bias": jnp.ones(2), "scale": jnp.ones(2)}}
    tx = optimizer(dict.fromkeys(["a/kernel", "a/bias", "a/scale"], 1.0), weight_decay=0.5)
    updates, _ = tx.update({"a": dict.fromkeys(params["a"], jnp.zeros(2))}, tx.init(params), params)
    np.testing.assert_allclose(updates["a"]["kernel"], -0.05, rtol=1e-5)
    assert not updates["a"]["bias"].any()
    assert not updates["a"]["scale"].any()


def test_gradients_are_clipped_by_their_common_norm():
    """Second moments remember the clipped gradient: (1 - b2) (g / norm)^2."""
    params = {"a": {"bias": jnp.ones(2)}}
    tx = optimizer({"a/bias": 1.0})
    _, state = tx.update({"a": {"bias": jnp.array([30.0, 40.0])}}, tx.init(params), params)
    np.testing.assert_allclose(state.inner[1][0].nu["a"]["bias"], [0.001 * 0.36, 0.001 * 0.64], rtol=1e-4)


def descend(gradients, explode=0.0):
    """(updates of each step, optimizer state after each) for a parameter with these gradients, one after the other."""
    params = {"a": {"bias": jnp.ones(2)}}
    tx = optimizer({"a/bias": 1.0}, explode, warmup=4)
    updates, states = [], [tx.init(params)]
    for gradient in gradients:
        update, state = tx.update({"a": {"bias": jnp.array([gradient, 1.0])}}, states[-1], params)
        updates.append(update["a"]["bias"])
        states.append(state)
    return updates, states[1:]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])  # the square of the last one overflows
def test_a_bad_gradient_changes_nothing_but_its_count(bad):
    updates, states = descend([1.0, bad, bad, 2.0])
    assert [skipped_steps(state).tolist() for state in states] == [[0, 0], [1, 1], [2, 2], [0, 2]]
    np.testing.assert_array_equal(updates[1:3], 0)
    assert np.signbit(updates[1:3]).all()  # -0.0 + x is x for every x; 0.0 + -0.0 is not, and costs memory
    for before, after in zip(jax.tree.leaves(states[0].inner), jax.tree.leaves(states[2].inner), strict=True):
        np.testing.assert_array_equal(before, after)
    expected, _ = descend([1.0, 2.0])  # moments, bias correction and warm-up go on as if the bad ones had never been
    np.testing.assert_array_equal(updates[3], expected[1])


def test_a_run_that_is_started_again_forgets_only_how_many_bad_steps_came_in_a_row():
    _, states = descend([1.0, np.nan, np.nan])
    again = forget_streak(states[-1])
    assert skipped_steps(again).tolist() == [0, 2]
    assert again._replace(in_a_row=states[-1].in_a_row) == states[-1]


def test_an_exploding_gradient_is_skipped_once_the_usual_size_is_known():
    usual = [3.0] * SETTLED
    _, states = descend([300.0, *usual], explode=5.0)  # norms are hypot(g, 1), those of the usual ones 3.2
    assert states[0].skipped == 0  # the first ones differ widely
    mean = float(states[SETTLED].norm)
    assert mean == pytest.approx((np.hypot(300, 1) + SETTLED * np.hypot(3, 1)) / (SETTLED + 1), rel=1e-5)
    _, states = descend([*usual, 16.5, 15.0, 3.0], explode=5.0)
    assert [int(state.in_a_row) for state in states[SETTLED:]] == [1, 0, 0]
    _, states = descend([*usual, 1000.0])
    assert states[-1].skipped == 0  # switched off


def test_the_first_moment_can_be_kept_in_half_the_memory():
    params = {"a": {"bias": jnp.ones(2)}}
    dtypes = {}
    for moments in ("float32", "bfloat16"):
        state = optimizer({"a/bias": 1.0}, moments=moments).init(params)
        adam = state.inner[1][0]
        dtypes[moments] = (adam.mu["a"]["bias"].dtype.name, adam.nu["a"]["bias"].dtype.name)
    assert dtypes == {"float32": ("float32", "float32"), "bfloat16": ("bfloat16", "float32")}
