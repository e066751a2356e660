"""Sigma grids against the published numbers, refused sigmas, and exactness and order of every solver."""

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion import sigma_grid
from actavatar_jax.diffusion.solvers import make_solver, model_times
from actavatar_jax.errors import InputError

# Timesteps of Wan2.2's own UniPC at shift 5.
WAN_50 = """999 995 991 987 982 978 973 968 963 957 952 946 940 934 927 920 913 906 898 890 882 873 863 854 843 833 821
809 796 783 768 753 737 720 701 681 660 636 611 584 555 522 487 448 405 356 302 241 172 92"""
WAN_8 = "999 972 937 892 833 749 624 416"


@pytest.mark.parametrize("published", [WAN_50, WAN_8])
def test_unipc_grid_is_wans(published):
    published = [int(word) for word in published.split()]
    sigmas = sigma_grid("unipc", len(published), 5.0)
    np.testing.assert_array_equal(model_times("unipc", sigmas), published)
    assert abs(sigmas[0] - 0.99979985) < 1e-8 and sigmas[-1] == 0


def test_dpm_and_euler_grids_start_at_pure_noise():
    dpm, euler = sigma_grid("dpm++", 4, 5.0), sigma_grid("euler", 4, 5.0)
    np.testing.assert_allclose(dpm, [1, 15 / 16, 5 / 6, 5 / 8, 0], rtol=1e-12)
    np.testing.assert_array_equal(dpm, euler)
    np.testing.assert_array_equal(model_times("dpm++", dpm), [1000, 937, 833, 625])
    np.testing.assert_allclose(model_times("euler", euler), [1000, 937.5, 833.3333, 625], rtol=1e-6)


def test_truncation_does_not_fall_off_a_whole_number_in_float32():
    sigmas = np.asarray([1.0, 0.95, 0.9, 0.7, 0.0], np.float32)  # float32 0.95 is 0.949999988
    np.testing.assert_array_equal(model_times("unipc", sigmas), [1000, 950, 900, 700])


@pytest.mark.parametrize(
    "sigmas",
    [
        [1.0, 0.5],  # does not end in 0
        [0.5, 0.6, 0.0],  # rises
        [0.5, 0.5, 0.0],  # stands still
        [1.1, 0.5, 0.0],  # above 1
        [1.0, 0.5, -0.1, 0.0],
        [np.nan, 0.5, 0.0],
        [0.0],
        [],
        [[1.0, 0.0]],
        ["a", "b"],
        [1.0, [0.5, 0.2], 0.0],
    ],
)
def test_wrong_sigmas_are_refused(sigmas):
    for function in (make_solver, model_times):
        with pytest.raises(InputError, match="sigmas must"):
            function("unipc", sigmas)


def test_wrong_names_steps_and_shifts_are_refused():
    for call in (lambda: make_solver("heun", [1.0, 0.0]), lambda: sigma_grid("heun", 8, 5.0)):
        with pytest.raises(InputError, match="unipc, dpm\\+\\+, euler, mean"):
            call()
    with pytest.raises(InputError, match="steps"):
        sigma_grid("euler", 0, 5.0)
    with pytest.raises(InputError, match="1 to 1000, not 1001"):
        sigma_grid("euler", 1001, 5.0)
    for shift in (0.0, float("nan")):
        with pytest.raises(InputError, match="shift"):
            sigma_grid("euler", 8, shift)


def integrate(name, sigmas, latents, velocity_fn):
    solver = make_solver(name, sigmas)
    state = solver.init(latents)
    for i, sigma in enumerate(np.asarray(sigmas)[:-1]):
        now = {key: value[i] for key, value in solver.coefficients.items()}
        latents, state = solver.step(now, state, latents, velocity_fn(latents, float(sigma)))
    return latents


@pytest.mark.parametrize("name", ["unipc", "dpm++", "euler"])
@pytest.mark.parametrize("steps", [1, 2, 3, 8])
@pytest.mark.parametrize("start", [1.0, 0.999])
def test_straight_flow_is_solved_exactly(name, steps, start):
    """A perfect model of one datum has the same velocity everywhere; sigma 1 brings infinite log ratios along."""
    rng = np.random.default_rng(steps)
    data, noise = (jnp.asarray(rng.standard_normal((1, 2, 2, 2, 3), np.float32)) for _ in range(2))
    sigmas = np.linspace(start, 0, steps + 1)
    begin = (1 - start) * data + start * noise
    np.testing.assert_allclose(integrate(name, sigmas, begin, lambda x, s: noise - data), data, atol=2e-6)


def test_mean_goes_from_pure_noise_to_data_at_once():
    for shift in (1.0, 3.3, 5.0):
        sigmas = sigma_grid("mean", 1, shift)
        np.testing.assert_allclose(sigmas, [1, 0], rtol=1e-12)
        np.testing.assert_array_equal(model_times("mean", sigmas), [1000])
        np.testing.assert_array_equal(make_solver("mean", sigmas).coefficients["move"], [-1])


def test_mean_in_more_steps_or_from_elsewhere_is_refused():
    with pytest.raises(InputError, match="mean makes 1 step, not 8; give steps=1"):
        sigma_grid("mean", 8, 5.0)
    for sigmas in ([1.0, 0.5, 0.0], [0.9, 0.0]):
        with pytest.raises(InputError, match="mean makes 1 step, from sigma 1 to 0; these are"):
            make_solver("mean", sigmas)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("dpm++", 2), ("unipc", 2)])
def test_order_of_convergence(name, order):
    """Gaussian data of spread 0.5 have a closed-form flow x = x_1 sqrt((1 - s)^2 0.25 + s^2)."""

    def variance(s):
        return 0.25 * (1 - s) ** 2 + s**2

    def velocity(x, s):
        return x * (s - 0.25 * (1 - s)) / variance(s)

    noise = jnp.full((1, 1, 1, 1, 1), 1.0)

    def error(steps):
        return abs(float(integrate(name, sigma_grid("euler", steps, 3.0), noise, velocity).squeeze()) - 0.5)

    # The first and last steps are of order 1 in every solver, so measured orders lie a little below the nominal ones.
    assert np.log2(error(16) / error(32)) > order - 0.35
