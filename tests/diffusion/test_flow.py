"""Path, target, loss without latent frame 0, timesteps per latent frame, law of training times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion import flow
from actavatar_jax.errors import InputError

SHAPE = (2, 3, 2, 4, 5)


@pytest.fixture
def pair():
    data, noise = np.random.default_rng(0).standard_normal((2, *SHAPE), np.float32)
    return jnp.asarray(data), jnp.asarray(noise)


def test_path_runs_from_data_to_noise_with_constant_velocity(pair):
    data, noise = pair
    assert (flow.interpolate(data, noise, jnp.zeros(2)) == data).all()
    assert (flow.interpolate(data, noise, jnp.ones(2)) == noise).all()

    def at(t):
        return flow.interpolate(data, noise, jnp.asarray([t, t]))

    np.testing.assert_allclose((at(0.75) - at(0.25)) / 0.5, flow.velocity(data, noise), atol=1e-6)


def test_time_is_per_sample_or_per_latent_frame(pair):
    data, noise = pair
    t = jnp.asarray([[0.0, 0.5, 1.0], [0.2, 0.2, 0.2]])
    mixed = flow.interpolate(data, noise, t)
    assert (mixed[0, 0] == data[0, 0]).all() and (mixed[0, 2] == noise[0, 2]).all()
    np.testing.assert_allclose(mixed[0, 1], (data[0, 1] + noise[0, 1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(mixed[1], flow.interpolate(data, noise, jnp.asarray([0.9, 0.2]))[1])


def test_half_precision_data_give_a_float32_path_and_target(pair):
    data, noise = (x.astype(jnp.bfloat16) for x in pair)
    assert flow.interpolate(data, noise, jnp.ones(2)).dtype == flow.velocity(data, noise).dtype == jnp.float32


def test_loss_is_the_mean_per_sample_and_blind_to_latent_frame_0(pair):
    predicted, target = pair
    loss = flow.flow_loss(predicted, target)
    np.testing.assert_allclose(loss, ((predicted - target)[:, 1:] ** 2).reshape(2, -1).mean(1), rtol=1e-6)
    np.testing.assert_array_equal(loss, flow.flow_loss(predicted.at[:, 0].add(100.0), target))
    gradient = jax.grad(lambda p: flow.flow_loss(p, target).sum())(predicted)
    assert (gradient[:, 0] == 0).all() and (gradient[:, 1:] != 0).all()


def test_loss_of_a_single_latent_frame_is_refused():
    with pytest.raises(InputError, match="at least 2 latent frames"):
        flow.flow_loss(jnp.zeros((1, 1, 2, 2, 2)), jnp.zeros((1, 1, 2, 2, 2)))


def test_model_timesteps():
    t = jnp.asarray([0.5, 1.0])
    np.testing.assert_array_equal(flow.frame_times(t, 3), [[0, 500, 500], [0, 1000, 1000]])
    np.testing.assert_array_equal(flow.frame_times(t, 2, clean=0), [[500, 500], [1000, 1000]])


def test_keep_clean(pair):
    latents, clean = pair
    kept = flow.keep_clean(latents, clean[:, :1])
    assert (kept[:, 0] == clean[:, 0]).all() and (kept[:, 1:] == latents[:, 1:]).all()
    assert flow.keep_clean(latents, None) is latents


def test_shift():
    np.testing.assert_allclose(flow.shift_time(0.5, 5.0), 5 / 6)
    np.testing.assert_array_equal(flow.shift_time(np.linspace(0, 1, 5), 1.0), np.linspace(0, 1, 5))

    # The same warp is a shift of the logit by ln(shift).
    def logit(p):
        return np.log(p / (1 - p))

    np.testing.assert_allclose(logit(flow.shift_time(0.3, 5.0)), logit(0.3) + np.log(5), rtol=1e-12)


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def test_times_are_the_shifted_training_sequence():
    times = np.asarray(flow.TimeLaw(steps=10).sample(keys(5000)))
    levels, counts = np.unique(times, return_counts=True)
    np.testing.assert_allclose(levels, flow.shift_time(np.arange(1, 11) / 10, 5.0), rtol=1e-6)
    assert counts.min() > 400 and counts.max() < 600  # uniform over the index: 500 each, sd 21
    default = np.asarray(flow.TimeLaw().sample(keys(5000)))
    assert abs(np.median(default) - 5 / 6) < 0.015 and default.min() > 0 and default.max() <= 1


def test_noisy_share_draws_near_pure_noise():
    times = np.asarray(flow.TimeLaw(shift=1.0, noisy_share=0.5, noisy_from=0.9).sample(keys(5000)))
    assert abs(np.mean(times >= 0.9) - (0.5 + 0.5 * 0.1)) < 0.03 and times.max() <= 1
    pure = np.asarray(flow.TimeLaw(noisy_share=1.0, noisy_from=1.0).sample(keys(10)))
    assert (pure == 1).all()
    only = np.asarray(flow.TimeLaw(noisy_share=1.0, noisy_from=0.9).sample(keys(2000)))
    assert only.min() >= 0.9 and abs(only.mean() - 0.95) < 0.005


@pytest.mark.parametrize(
    ("wrong", "accepted"),
    [
        ({"shift": 0.0}, "0.0; accepted is a number above 0"),
        ({"shift": "high"}, "'high'; accepted is a number"),
        ({"steps": 0}, "0; accepted is a whole number from 1 to 16777216"),
        ({"steps": 10.5}, "10.5; accepted is a whole number"),
        ({"noisy_share": 1.5}, "1.5; accepted is a number from 0 to 1"),
        ({"noisy_from": np.nan}, "nan; accepted is a number from 0 to 1"),
    ],
)
def test_wrong_laws_are_refused(wrong, accepted):
    (name,) = wrong
    with pytest.raises(InputError, match=f"^The setting time_law.{name} is {accepted}"):
        flow.TimeLaw(**wrong)


def test_draws_do_not_depend_on_the_batch():
    all_keys = flow.sample_keys(jax.random.key(3), np.asarray([7, 9, 2**31 - 1]))
    one_key = flow.sample_keys(jax.random.key(3), np.asarray([9]))
    law = flow.TimeLaw(noisy_share=0.5)
    assert law.sample(all_keys)[1] == law.sample(one_key)[0]
    noise = flow.gaussian(all_keys, (2, 3))
    np.testing.assert_array_equal(noise[1:2], flow.gaussian(one_key, (2, 3)))
    assert not np.allclose(noise[0], noise[2])
