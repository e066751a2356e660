"""Time by rotation: the facts that TIE's form is made of, and the model as a whole beside plain Wan."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models.avatar.intervals import BASE_WINDOW, key_turns, query_turns, turn
from tests.models.avatar.test_dit import CONFIG, randomised, run

K, SCALE, PARAMS = 128, 4.0, randomised(CONFIG)
RATES = SCALE * 10_000.0 ** (-np.arange(K // 2) / (K // 2))
IDS = np.array([[0, 0, 1, 1, 2, 2, -1, -1]], np.int32)
WINDOWS = np.array([[[0.5, 1.5], [2.0, 2.0], [0, 0]]], np.float32)


def keys(form: str, ids=IDS, windows=WINDOWS) -> np.ndarray:
    """[B, S, pairs], complex."""
    cos, sin = np.moveaxis(np.asarray(key_turns(form, jnp.asarray(ids), jnp.asarray(windows), K, SCALE)), 2, 0)
    return cos + 1j * sin


def queries(frames: int, timed: bool = True, rate: int = 25) -> np.ndarray:
    cos, sin = np.moveaxis(np.asarray(query_turns(jnp.asarray([timed]), frames, K, SCALE, rate)), 2, 0)
    return (cos + 1j * sin)[0]


def scores(times: np.ndarray, start: float, end: float, form: str = "tie") -> np.ndarray:
    """Of queries at these seconds with a key of a window, averaged over random unit vectors q = k: the mean over pairs
    of the cosines between their turns."""
    key = keys(form, np.array([[1]], np.int32), np.array([[[start, end]]], np.float32))[0, 0]
    return np.real(np.exp(1j * times[:, None] * RATES) * np.conj(key)).mean(axis=1)


def test_a_key_is_the_mean_of_the_turns_over_its_window():
    """Which is what sin(x) / x times the turn of the middle is, numerically; then all pairs are scaled alike."""
    times = np.linspace(0.5, 1.5, 200_001)
    mean = np.exp(1j * times[:, None] * RATES).mean(axis=0)
    sizes = np.real(mean * np.exp(-1j * 1.0 * RATES))
    np.testing.assert_allclose(keys("tie")[0, 2], mean / sizes.mean(), atol=2e-4)


def test_base_and_padding():
    turns = keys("tie")[0]
    np.testing.assert_array_equal(turns[0], turns[1])
    middle = np.exp(1j * RATES * sum(BASE_WINDOW) / 2)
    np.testing.assert_allclose(np.abs(np.imag(turns[0] * np.conj(middle))), 0, atol=2e-4)
    np.testing.assert_array_equal(turns[6:], 1)


def test_sizes_of_a_key_have_mean_one_and_a_window_without_length_is_a_point():
    middles = np.exp(1j * RATES * np.array([1.0, 2.0])[:, None])
    sizes = np.real(keys("tie")[0, [2, 4]] * np.conj(middles))
    np.testing.assert_allclose(sizes.mean(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(keys("tie")[0, 4], keys("point")[0, 4], atol=1e-6)
    np.testing.assert_allclose(np.abs(keys("point")), 1, atol=1e-6)


def test_the_original_form_turns_half_of_the_pairs_by_the_start_and_half_by_the_end():
    half = K // 4
    want = np.exp(1j * np.concatenate([0.5 * RATES[:half], 1.5 * RATES[half:]]))
    np.testing.assert_allclose(keys("original")[0, 2], want, atol=1e-5)


def test_scores_fall_from_the_middle_of_a_window_on_both_sides_alike():
    distances = np.linspace(0, 1.5, 40)  # up to half a window beyond the border of 2 s
    later, earlier = scores(5 + distances, 4, 6), scores(5 - distances, 4, 6)
    np.testing.assert_allclose(later, earlier, atol=1e-4)
    assert (np.diff(later[distances <= 1.0]) < 1e-4).all() and later[0] > later[-1] + 0.05


def test_only_differences_of_time_count():
    times = np.linspace(0, 4, 20)
    np.testing.assert_allclose(scores(times, 1, 2), scores(times + 3, 4, 5), atol=1e-4)


def test_latent_frames_turn_by_the_middle_of_what_they_last():
    """Frame 0 lasts 1/25 s, each latent frame after it four of them."""
    middles = np.array([0.02, 0.04 + 0.08, 0.04 + 0.16 + 0.08])
    np.testing.assert_allclose(queries(3), np.exp(1j * middles[:, None] * RATES), atol=1e-5)
    slow = np.exp(1j * middles[:, None] * 25 / 16 * RATES)
    np.testing.assert_allclose(queries(3, rate=16), slow, atol=1e-5)
    np.testing.assert_array_equal(queries(3, timed=False), 1)


def test_a_text_without_phases_has_no_time():
    np.testing.assert_array_equal(keys("tie", np.array([[0, 0, 0, -1]], np.int32)), 1)


def test_turning_is_that_of_complex_numbers():
    rng = np.random.default_rng(0)
    x, angles = rng.standard_normal((1, 2, 3, 8)).astype(np.float32), rng.standard_normal((1, 2, 4)).astype(np.float32)
    turned = turn(jnp.asarray(x), jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=2))
    want = (x[..., :4] + 1j * x[..., 4:]) * np.exp(1j * angles)[:, :, None]
    np.testing.assert_allclose(turned, np.concatenate([want.real, want.imag], axis=-1), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tie", "point", "original"])
def test_without_a_scale_the_model_is_plain_wan_bit_for_bit(form):
    flat = functional.flatten(PARAMS)
    plain = functional.unflatten(flat | {"phase_embedding/embedding": np.zeros_like(flat["phase_embedding/embedding"])})
    config = dataclasses.replace(CONFIG, phase_time=form, time_scale=0.0)
    np.testing.assert_array_equal(run(config, plain), run(CONFIG, plain))
    assert np.abs(run(dataclasses.replace(config, time_scale=4.0), plain) - run(CONFIG, plain)).max() > 1e-3


@pytest.mark.slow
def test_without_paper_phases_have_no_embedding():
    flat = functional.flatten(PARAMS)
    other = functional.unflatten(flat | {"phase_embedding/embedding": 1 + flat["phase_embedding/embedding"]})
    for form, same in (("relay", True), ("paper+relay", False)):
        config = dataclasses.replace(CONFIG, phase_time=form)
        assert (np.abs(run(config, other) - run(config, PARAMS)).max() == 0) == same
