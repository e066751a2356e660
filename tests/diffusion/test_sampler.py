"""The scan against a plain loop; batch independence; the clean first frame; one call for all guidance branches; steps
that are watched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion import BOTH, Guidance, evaluations, keep_clean, sample, sample_noise, sigma_grid
from actavatar_jax.diffusion.guidance import guidance
from actavatar_jax.diffusion.sampler import _advance, _integrate
from actavatar_jax.diffusion.solvers import SOLVERS, make_solver, model_times

B, T, H, W, C = 2, 3, 2, 2, 4
MIX = jnp.asarray(np.random.default_rng(0).standard_normal((C, C), np.float32))
MANY = [name for name in SOLVERS if name != "mean"]  # solvers of as many steps as one likes
EQUAL, SPLIT = guidance("auto", 5.0, 5.0), guidance("text_first", 5.0, 3.0)


def fake_model(latents, timesteps, conditions):
    """Nonlinear, and mixes all positions of a sample, so that a wrong row, frame or timestep shows everywhere."""
    mean = latents.mean(axis=(1, 2, 3, 4), keepdims=True)
    time = timesteps[:, :, None, None, None] / 1000
    return (
        jnp.tanh(latents @ MIX + mean + jnp.sin(3 * time)) + conditions["branch"][:, None, None, None, None] * latents
    )


def conditions_for(chosen, batch=B):
    return {"branch": jnp.repeat(jnp.asarray([0.3 * text + 0.2 * audio for text, audio in chosen.branches]), batch)}


@pytest.fixture
def inputs():
    return {
        "noise": sample_noise(0, np.arange(B), (T, H, W, C)),
        "clean": sample_noise(1, np.arange(B), (1, H, W, C)),
    }


def run(name, chosen, steps=5, batch=B, model=fake_model, **inputs):
    settings = {"solver": name, "sigmas": sigma_grid(name, steps, 5.0), "guidance": chosen}
    settings["unguided"] = conditions_for(Guidance((BOTH,), (1.0,)), batch)
    return sample(model, conditions_for(chosen, batch), **inputs, **settings)


def plain_loop(name, chosen, steps, noise, clean):
    """One evaluation per branch and step, in Python."""
    sigmas = sigma_grid(name, steps, 5.0)
    solver = make_solver(name, sigmas)
    latents = keep_clean(noise, clean)
    state = solver.init(latents)
    for i, time in enumerate(model_times(name, sigmas)):
        timesteps = np.full((B, T), time, np.float32)
        if clean is not None:
            timesteps[:, 0] = 0
        velocity, now = 0, chosen if chosen.guided(sigmas[i : i + 1]).all() else Guidance((BOTH,), (1.0,))
        for (text, audio), weight in zip(now.branches, now.weights, strict=True):
            branch = {"branch": jnp.full(B, 0.3 * text + 0.2 * audio)}
            velocity += weight * fake_model(latents, jnp.asarray(timesteps), branch)
        now = {key: value[i] for key, value in solver.coefficients.items()}
        latents, state = solver.step(now, state, latents, velocity)
        latents = keep_clean(latents, clean)
    return latents


@pytest.mark.parametrize("name", MANY)
@pytest.mark.parametrize("chosen", [EQUAL, SPLIT])
@pytest.mark.parametrize("with_image", [True, False])
def test_scan_equals_plain_loop(name, chosen, with_image, inputs):
    inputs["clean"] = inputs["clean"] if with_image else None
    np.testing.assert_allclose(run(name, chosen, **inputs), plain_loop(name, chosen, 5, **inputs), rtol=1e-5, atol=1e-5)


SOME = [(0.5, 0.9), (0.0, 0.7), (0.9, 1.0), (0.0, 0.0), (0.0, 1.0)]


@pytest.mark.parametrize("interval", SOME)
@pytest.mark.parametrize(("name", "scales"), [("unipc", (5.0, 5.0)), ("euler", (5.0, 3.0)), ("dpm++", (4.0, 0.0))])
def test_guidance_on_an_interval_equals_a_plain_loop(name, scales, interval, inputs):
    chosen = guidance("auto", *scales, interval)
    expected = plain_loop(name, chosen, 8, **inputs)
    np.testing.assert_allclose(run(name, chosen, 8, **inputs), expected, rtol=1e-5, atol=1e-5)
    watched = run(name, chosen, 8, callback=lambda step: None, **inputs)
    np.testing.assert_allclose(watched, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("interval", "scans"), zip(SOME, (3, 2, 2, 1, 1), strict=True))
def test_outside_the_interval_one_branch_is_evaluated(interval, scans, inputs):
    rows, sigmas, chosen = [], sigma_grid("unipc", 8, 5.0), guidance("auto", 5.0, 5.0, interval)

    def model(latents, timesteps, conditions):
        jax.debug.callback(lambda x: rows.append(len(x)), timesteps, ordered=True)
        return fake_model(latents, timesteps, conditions)

    run("unipc", chosen, steps=8, model=model, **inputs).block_until_ready()
    jax.effects_barrier()
    assert rows == [2 * B if low < sigma <= high else B for low, high in [interval] for sigma in sigmas[:-1]]
    assert sum(rows) == B * evaluations(chosen, sigmas)

    trace = jax.make_jaxpr(lambda noise: run("unipc", chosen, steps=8, noise=noise, clean=None))
    assert str(trace(inputs["noise"])).count("= scan[") == scans


def test_evaluations_count_every_branch_of_every_step():
    sigmas = sigma_grid("unipc", 24, 5.0)
    assert evaluations(EQUAL, sigmas) == 48 and evaluations(SPLIT, sigmas) == 72
    assert evaluations(guidance("auto", 1.0, 1.0), sigmas) == 24
    inside = int(((sigmas > 0.5) & (sigmas <= 0.9)).sum())
    assert evaluations(guidance("text_first", 5.0, 3.0, (0.5, 0.9)), sigmas) == 24 + 2 * inside


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("with_image", [True, False])
def test_watched_steps_lead_to_the_same_result(name, with_image, inputs):
    inputs["clean"] = inputs["clean"] if with_image else None
    count, seen = 1 if name == "mean" else 8, []
    watched = run(name, EQUAL, count, callback=seen.append, **inputs)
    np.testing.assert_allclose(watched, run(name, EQUAL, count, **inputs), rtol=1e-6, atol=1e-6)
    assert [(step.done, step.steps) for step in seen] == [(i + 1, count) for i in range(count)]
    np.testing.assert_allclose([step.sigma for step in seen], sigma_grid(name, count, 5.0)[:-1], rtol=1e-6)
    np.testing.assert_allclose(seen[-1].data, watched, rtol=1e-6, atol=1e-6)
    for step in seen:
        assert not with_image or np.array_equal(step.data[:, :1], inputs["clean"])


def test_a_watched_step_has_the_velocity_and_the_data_of_its_latents(inputs):
    seen = []
    run("unipc", EQUAL, 4, callback=seen.append, noise=inputs["noise"], clean=None)
    time = model_times("unipc", sigma_grid("unipc", 4, 5.0))[0]
    v = {
        branch: fake_model(inputs["noise"], jnp.full((B, T), time), {"branch": jnp.full(B, 0.3 * text + 0.2 * audio)})
        for branch in EQUAL.branches
        for text, audio in [branch]
    }
    guided = sum(weight * v[branch] for branch, weight in zip(EQUAL.branches, EQUAL.weights, strict=True))
    np.testing.assert_allclose(seen[0].velocity, guided, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen[0].data, inputs["noise"] - seen[0].sigma * guided, rtol=1e-5, atol=1e-5)


def test_watched_steps_are_one_program_for_each_number_of_branches(inputs):
    def model(*args):
        return fake_model(*args)

    before = _advance._cache_size()
    for steps in (4, 7):
        run("unipc", EQUAL, steps, model=model, callback=lambda step: None, **inputs)
    assert _advance._cache_size() == before + 1
    run("unipc", guidance("auto", 5.0, 5.0, (0.5, 0.9)), 7, model=model, callback=lambda step: None, **inputs)
    assert _advance._cache_size() == before + 2


def test_what_a_callback_raises_ends_the_sampling(inputs):
    def stop(step):
        if step.done == 2:
            raise KeyboardInterrupt

    evaluated = []

    def model(latents, timesteps, conditions):
        jax.debug.callback(lambda _: evaluated.append(1), timesteps, ordered=True)
        return fake_model(latents, timesteps, conditions)

    with pytest.raises(KeyboardInterrupt):
        run("unipc", EQUAL, 6, model=model, callback=stop, **inputs)
    jax.effects_barrier()
    assert len(evaluated) == 2


@pytest.mark.parametrize("name", MANY)
def test_first_frame_is_untouched(name, inputs):
    latents = run(name, EQUAL, **inputs)
    np.testing.assert_array_equal(latents[:, :1], inputs["clean"])
    assert np.abs(latents[:, 1:] - inputs["noise"][:, 1:]).min() > 0


def test_mean_is_one_step_of_euler(inputs):
    latents = run("mean", SPLIT, steps=1, **inputs)
    np.testing.assert_array_equal(latents, run("euler", SPLIT, steps=1, **inputs))
    np.testing.assert_allclose(latents, plain_loop("mean", SPLIT, 1, **inputs), rtol=1e-5, atol=1e-5)


def test_mean_of_a_perfect_model_is_the_same_for_every_noise():
    """At pure noise the velocity that leaves the least error is the noise minus the mean of the data."""

    def perfect(latents, timesteps, conditions):
        return latents - 0.25

    for seed in range(2):
        noise = sample_noise(seed, np.arange(B), (T, H, W, C))
        latents = run("mean", EQUAL, steps=1, model=perfect, noise=noise, clean=None)
        np.testing.assert_allclose(latents, np.full(latents.shape, 0.25), atol=1e-5)


def test_noise_of_the_first_frame_has_no_effect(inputs):
    other = dict(inputs, noise=inputs["noise"].at[:, 0].add(7.0))
    np.testing.assert_array_equal(run("unipc", EQUAL, **inputs), run("unipc", EQUAL, **other))


def test_the_model_sees_the_clean_frame_and_timestep_0_at_every_step(inputs):
    seen = []

    def model(latents, timesteps, conditions):
        jax.debug.callback(lambda *now: seen.append(now), latents[:, :1], timesteps, ordered=True)
        return fake_model(latents, timesteps, conditions)

    run("unipc", EQUAL, steps=8, model=model, **inputs).block_until_ready()
    jax.effects_barrier()
    assert len(seen) == 8
    for (first, timesteps), time in zip(seen, [999, 972, 937, 892, 833, 749, 624, 416], strict=True):
        np.testing.assert_array_equal(first, np.concatenate([inputs["clean"]] * 2))
        np.testing.assert_array_equal(timesteps, [[0] + [time] * (T - 1)] * (2 * B))


@pytest.mark.parametrize("name", MANY)
def test_samples_do_not_depend_on_the_batch(name, inputs):
    together = run(name, EQUAL, **inputs)
    for i in range(B):
        alone = run(name, EQUAL, batch=1, **{key: value[i : i + 1] for key, value in inputs.items()})
        np.testing.assert_allclose(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


def test_noise_of_a_sample_depends_on_seed_and_id_only():
    noise = sample_noise(5, np.asarray([3, 11]), (T, H, W, C))
    assert noise.shape == (2, T, H, W, C) and noise.dtype == jnp.float32
    np.testing.assert_array_equal(noise[1:], sample_noise(5, jnp.asarray([11]), (T, H, W, C)))
    assert not np.allclose(noise[0], noise[1])
    assert not np.allclose(noise[0], sample_noise(6, np.asarray([3]), (T, H, W, C))[0])


def test_noise_is_reproducible_under_another_default_generator():
    expected = sample_noise(5, np.asarray([3]), (2, 2))
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(sample_noise(5, np.asarray([3]), (2, 2)), expected)


def test_all_branches_are_one_call_traced_once_for_equal_shapes(inputs):
    traced = []

    def model(latents, timesteps, conditions):
        traced.append(latents.shape)
        return fake_model(latents, timesteps, conditions)

    before = _integrate._cache_size()
    for scale in (5.0, 3.0):
        run("unipc", guidance("auto", scale, scale), model=model, **inputs)
    run("unipc", EQUAL, model=model, noise=inputs["noise"] + 1, clean=inputs["clean"])
    assert _integrate._cache_size() == before + 1
    assert set(traced) == {(2 * B, T, H, W, C)}


def test_half_precision_models_keep_a_float32_state(inputs):
    def half(*args):
        return fake_model(*args).astype(jnp.bfloat16)

    latents = run("unipc", EQUAL, model=half, **inputs)
    assert latents.dtype == jnp.float32
    assert not (latents[:, 1:] == latents[:, 1:].astype(jnp.bfloat16).astype(jnp.float32)).all()
