"""Levels that are left out: which, at what error, and what they have to do with an old velocity used again."""

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import InputError
from actavatar_jax.diffusion import Step, VelocityPath, evaluations, keep_levels, sample, sample_noise, sigma_grid
from actavatar_jax.diffusion.guidance import guidance
from actavatar_jax.diffusion.solvers import make_solver, model_times

SHAPE = (1, 3, 2, 2, 4)
ALONE = guidance("auto", 1.0, 1.0)
NOISE = sample_noise(0, np.arange(1), SHAPE[1:])
MEAN = 0.5 * sample_noise(1, np.arange(1), SHAPE[1:])
VARIANCE = 0.3


def gaussian_flow(latents, timesteps, conditions):
    """The exact velocity of data N(MEAN, VARIANCE): nearly constant close to noise, and bent close to data."""
    t = timesteps[:, :, None, None, None] / 1000
    data = MEAN + (1 - t) * VARIANCE / ((1 - t) ** 2 * VARIANCE + t**2) * (latents - (1 - t) * MEAN)
    return (latents - data) / t


def straight_flow(latents, timesteps, conditions):
    """Everything goes straight to MEAN: the velocity is the same along the whole way."""
    return (latents - MEAN) / (timesteps[:, :, None, None, None] / 1000)


def run(sigmas, solver="unipc", flow=gaussian_flow, callback=None):
    given = {"noise": NOISE, "clean": None, "solver": solver, "sigmas": sigmas, "guidance": ALONE}
    return np.asarray(sample(flow, {}, callback=callback, **given))


def measure(sigmas, solver="unipc", flow=gaussian_flow):
    path = VelocityPath()
    run(sigmas, solver, flow, path)
    return path.points


def run_with_old_velocities(sigmas, kept, solver):
    """The whole grid, with an evaluation at the levels `kept` only, and the last velocity again at all others."""
    integrator, latents, velocity = make_solver(solver, sigmas), NOISE, None
    state = integrator.init(latents)
    for i, time in enumerate(model_times(solver, sigmas)):
        if sigmas[i] in kept:
            velocity = gaussian_flow(latents, jnp.full(SHAPE[:2], time), None)
        now = {name: values[i] for name, values in integrator.coefficients.items()}
        latents, state = integrator.step(now, state, latents, velocity)
    return np.asarray(latents)


def error(result, sigmas, solver="unipc"):
    return float(np.abs(result - run(sigmas, solver)).max())


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_threshold_0_leaves_nothing_out(solver):
    sigmas = sigma_grid(solver, 12, 5.0)
    kept = keep_levels(sigmas, measure(sigmas, solver), 0.0)
    np.testing.assert_array_equal(kept, sigmas)
    np.testing.assert_array_equal(run(kept, solver), run(sigmas, solver))
    assert evaluations(ALONE, kept) == evaluations(ALONE, sigmas) == 12


@pytest.mark.parametrize("solver", ["unipc", "dpm++", "euler"])
def test_a_straight_flow_needs_one_evaluation_and_loses_nothing(solver):
    sigmas = sigma_grid("euler", 12, 3.0)  # whose times have fractions, which UniPC and DPM++ cut off
    sigmas = np.append(np.round(sigmas[:-1], 3), 0.0)
    kept = keep_levels(sigmas, measure(sigmas, solver, straight_flow), 1e-3)
    np.testing.assert_array_equal(kept, [1, 0])
    np.testing.assert_allclose(run(kept, solver, straight_flow), MEAN, atol=1e-6)
    np.testing.assert_allclose(run(sigmas, solver, straight_flow), MEAN, atol=1e-5)


def test_higher_thresholds_evaluate_less_and_miss_by_more():
    sigmas = sigma_grid("unipc", 24, 5.0)
    path = measure(sigmas)
    kept = [keep_levels(sigmas, path, least) for least in (0.02, 0.1, 0.3)]
    counts, errors = [evaluations(ALONE, levels) for levels in kept], [error(run(levels), sigmas) for levels in kept]
    assert 24 > counts[0] > counts[1] > counts[2] > 1
    assert 1e-6 < errors[0] < errors[1] < errors[2] < 0.2 * np.abs(run(sigmas)).max()


def test_for_euler_a_level_left_out_is_an_old_velocity_used_again():
    sigmas = sigma_grid("euler", 24, 5.0)
    kept = keep_levels(sigmas, measure(sigmas, "euler"), 0.1)
    assert 2 < len(kept) < len(sigmas) - 5
    np.testing.assert_allclose(run(kept, "euler"), run_with_old_velocities(sigmas, kept, "euler"), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("least", [0.02, 0.1, 0.3])
@pytest.mark.parametrize(("solver", "ratio"), [("unipc", 0.25), ("dpm++", 2.0)])
def test_unipc_does_better_than_with_an_old_velocity_and_dpm_no_worse(solver, ratio, least):
    sigmas = sigma_grid(solver, 24, 5.0)
    kept = keep_levels(sigmas, measure(sigmas, solver), least)
    assert len(kept) < len(sigmas) - 5
    again = run_with_old_velocities(sigmas, kept, solver)
    assert error(run(kept, solver), sigmas, solver) < ratio * error(again, sigmas, solver)


def test_the_rule_keeps_the_first_level_the_end_and_what_has_come_far_enough():
    sigmas = np.asarray([1.0, 0.8, 0.6, 0.4, 0.2, 0.0])
    path = [(1.0, 0.0), (0.8, 0.05), (0.6, 0.125), (0.4, 0.15), (0.2, 0.5)]
    assert keep_levels(sigmas, path, 0.1).tolist() == [1.0, 0.6, 0.2, 0.0]
    assert keep_levels(sigmas, path, 0.02).tolist() == sigmas.tolist()
    assert keep_levels(sigmas, path, 9.0).tolist() == [1.0, 0.0]


def test_a_path_serves_grids_of_other_levels():
    path = [(1.0, 0.0), (0.6, 0.4), (0.2, 0.6)]
    finer = np.asarray([1.0, 0.9, 0.8, 0.5, 0.4, 0.2, 0.1, 0.0])
    # at 0.9 the way is 0.1, at 0.8 0.2, at 0.5 0.45, at 0.4 0.5, and behind the last level, at 0.1, 0.65
    assert keep_levels(finer, path, 0.19).tolist() == [1.0, 0.8, 0.5, 0.1, 0.0]
    full, coarse = sigma_grid("unipc", 48, 5.0), sigma_grid("unipc", 24, 5.0)
    counts = [len(keep_levels(full, measure(grid), 0.1)) for grid in (full, coarse)]
    assert abs(counts[0] - counts[1]) <= 1


def test_a_path_sums_relative_changes_and_leaves_out_the_first_frame():
    path, velocity = VelocityPath(), jnp.ones(SHAPE)
    for done, (sigma, scale) in enumerate([(1.0, 1.0), (0.5, 1.5), (0.25, 0.75)], 1):
        velocity = (velocity * 0 + scale).at[:, 0].set(100.0 * done)
        path(Step(done, 3, sigma, velocity, velocity))
    np.testing.assert_allclose(path.points, [(1.0, 0.0), (0.5, 0.5), (0.25, 1.0)], rtol=1e-6)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ((), "no measured path"),
        (((1.0, 0.0),), "two noise levels or more"),
        (((0.5, 0.0), (0.6, 0.1)), "fall from at most 1"),
        (((1.2, 0.0), (0.6, 0.1)), "fall from at most 1"),
        (((0.9, 0.0), (0.0, 0.1)), "stay above 0"),
        (((0.9, 0.2), (0.5, 0.1)), "ways that do not fall"),
        (((0.9, 0.0), (0.5, float("nan"))), "ways that do not fall"),
    ],
)
def test_paths_that_are_none_are_refused(path, words):
    with pytest.raises(InputError, match=words):
        keep_levels(sigma_grid("unipc", 4, 5.0), path, 0.1)
