"""Noise levels, solvers and guidance against the published numbers and formulas."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion import BOTH, Guidance, sample
from actavatar_jax.diffusion.solvers import model_times
from actavatar_jax.echomimic.levels import Row, decay, multiplied, noise_levels, plan_guidance
from actavatar_jax.echomimic.options import DEFAULTS, EchoMimicSampling
from actavatar_jax.errors import InputError

EULER = EchoMimicSampling(steps=5)


def times(variant, **options):
    s = EchoMimicSampling(**options)
    return model_times(s.solver, noise_levels(s, variant))


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_euler_warps_the_low_end_twice(variant):
    want = [1000, 937.8885, 834.7121, 629.6342, 24.4141]
    np.testing.assert_allclose(times(variant, solver="euler", steps=5), want, atol=5e-5)
    last = times(variant, solver="euler", steps=25)[-5:]
    np.testing.assert_allclose(last, [507.40, 426.24, 325.17, 195.82, 24.41], atol=5e-3)
    assert noise_levels(EULER, variant)[-1] == 0


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5, 25])
def test_euler_is_diffusers(steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0)
    scheduler.set_timesteps(steps)
    s = EchoMimicSampling(steps=steps)
    np.testing.assert_allclose(noise_levels(s, "preview"), scheduler.sigmas.numpy(), rtol=0, atol=2e-7)


def test_published_times_of_the_other_solvers():
    unipc = [999, 972, 937, 892, 833, 749, 624, 416]
    assert times("flash", solver="unipc", steps=8).tolist() == unipc
    assert noise_levels(DEFAULTS["flash"], "flash")[0] == pytest.approx(0.999800, abs=5e-7)
    assert times("flash", solver="dpm++", steps=8).tolist() == [1000, 972, 937, 892, 833, 750, 625, 416]
    gui = times("preview", solver="dpm++", steps=20)
    assert gui[:3].tolist() == [1000, 997, 995] and gui[-3:].tolist() == [815, 735, 568]


def test_preview_warps_the_first_level_of_unipc_twice():
    def warp(level):
        return 5 * level / (1 + 4 * level)

    want = [warp(warp(0.999) * left / 8) for left in range(8, -1, -1)]
    np.testing.assert_allclose(noise_levels(EchoMimicSampling(solver="unipc", steps=8), "preview"), want, rtol=1e-12)


def test_double_shift_is_a_switch():
    once = EchoMimicSampling(solver="dpm++", steps=8, double_shift=False)
    np.testing.assert_array_equal(noise_levels(once, "preview"), noise_levels(once, "flash"))


# Trajectories, with v = tanh(0.7 x + 0.1 i) at step i whatever the level: x [1, 4, 3, 3, 3].
NOISE = np.random.default_rng(0).standard_normal((1, 4, 3, 3, 3))


def ours(solver, sigmas, callback=None):
    def velocity(latents, timesteps, conditions, step):
        return jnp.tanh(0.7 * latents + 0.1 * step)

    return sample(
        velocity,
        None,
        noise=jnp.asarray(NOISE, jnp.float32),
        clean=None,
        solver=solver,
        sigmas=sigmas,
        guidance=Guidance((BOTH,), (1.0,)),
        per_step=np.arange(len(sigmas) - 1, dtype=np.float32),
        callback=callback,
    )


def model(x, i):
    return np.tanh(0.7 * x + 0.1 * i)


def euler(sigmas):
    x = NOISE
    for i in range(len(sigmas) - 1):
        x = x + (sigmas[i + 1] - sigmas[i]) * model(x, i)
    return x


def log_snr(sigma):
    return math.inf if sigma == 0 else -math.inf if sigma == 1 else math.log(1 - sigma) - math.log(sigma)


def unipc(sigmas):
    """Predict, evaluate, correct, with the coefficients solved for at each step."""
    steps, x, start = len(sigmas) - 1, NOISE, None
    known = []  # (log snr, data), the oldest first
    order = 0
    for i in range(steps):
        new = x - sigmas[i] * model(x, i)
        here = log_snr(sigmas[i])
        if i:
            h = here - known[-1][0]
            b = math.exp(-h) - 1
            base, m0 = sigmas[i] / sigmas[i - 1] * start, known[-1][1]
            if order == 1:
                inner = m0 + 0.5 * (new - m0)
            else:
                r = (known[-2][0] - known[-1][0]) / h
                phi1 = b / -h - 1
                phi2 = phi1 / -h - 0.5
                rho = np.linalg.solve([[1, 1], [r, 1]], [phi1 / b, 2 * phi2 / b])
                inner = m0 + rho[0] * (known[-2][1] - m0) / r + rho[1] * (new - m0)
            x = base - (1 - sigmas[i]) * b * inner
        known.append((here, new))
        start, order = x, min(2, steps - i, i + 1)
        h = log_snr(sigmas[i + 1]) - here
        b = math.exp(-h) - 1
        inner = new
        if order == 2:
            r = (known[-2][0] - here) / h
            inner = new + 0.5 * (known[-2][1] - new) / r
        x = sigmas[i + 1] / sigmas[i] * x - (1 - sigmas[i + 1]) * b * inner
    np.testing.assert_allclose(x, known[-1][1], rtol=0, atol=1e-12)  # the last step gives the data
    return x


def dpm(sigmas):
    steps, x, before = len(sigmas) - 1, NOISE, None
    for i in range(steps):
        data = x - sigmas[i] * model(x, i)
        here, h = log_snr(sigmas[i]), log_snr(sigmas[i + 1]) - log_snr(sigmas[i])
        b = math.exp(-h) - 1
        slope = 0.0
        if 0 < i < steps - 1:
            r0 = (here - log_snr(sigmas[i - 1])) / h
            slope = (data - before) / r0
        x = sigmas[i + 1] / sigmas[i] * x - (1 - sigmas[i + 1]) * b * (data + 0.5 * slope)
        before = data
    return x


@pytest.mark.parametrize("variant", ["preview", "flash"])
@pytest.mark.parametrize(("solver", "theirs"), [("euler", euler), ("unipc", unipc), ("dpm++", dpm)])
@pytest.mark.parametrize("steps", [2, 8])
def test_trajectories(variant, solver, theirs, steps):
    sigmas = noise_levels(EchoMimicSampling(solver=solver, steps=steps), variant)
    want = theirs(sigmas.astype(np.float32).astype(np.float64).tolist())
    np.testing.assert_allclose(ours(solver, sigmas), want, rtol=0, atol=1e-6)


def test_steps_are_told_their_own_when_they_are_watched():
    sigmas, seen = noise_levels(EchoMimicSampling(steps=4), "preview"), []
    watched = ours("euler", sigmas, callback=lambda step: seen.append(step.done))
    np.testing.assert_allclose(watched, ours("euler", sigmas), rtol=0, atol=1e-6)
    assert seen == [1, 2, 3, 4]


def test_decay_is_the_published_one():
    np.testing.assert_allclose(decay(5), [1, 0.6212, 0.5074, 0.5001, 0.5], atol=5e-5)
    many = decay(25)
    np.testing.assert_allclose(many[:5], [1, 0.9591, 0.8698, 0.7718, 0.6865], atol=5e-5)
    np.testing.assert_allclose(many[16:], 0.5, atol=5e-5)


@pytest.mark.parametrize("scales", [(4.0, 2.9), (3.0, 3.0)])
def test_preview_guides_by_text_then_by_speech(scales):
    """The guided velocity of three that are told apart."""
    text, audio = scales
    s = EULER.changed(text_guidance=text, audio_guidance=audio)
    plan = plan_guidance(s, "preview")
    for i, factor in enumerate(decay(5)):
        v = {False: {False: 1.0, True: math.nan}, True: {False: 10.0, True: 100.0}}
        told = [plan.rows[row] for row in plan.taken[i]]
        got = sum(w * v[row.negative is None][row.hears] for w, row in zip(plan.weights[i], told, strict=True))
        want = 1 + text * factor * (10 - 1) + audio * factor * (100 - 10)
        assert got == pytest.approx(want, rel=1e-6)
    assert plan.weights.shape == (5, 3 if text != audio else 2)


@pytest.mark.parametrize(
    ("options", "powers"),
    [
        ({}, [1, 2, 3, 3, 3]),
        ({"compounding": False}, [1, 1, 1, 0, 0]),
        ({"negative_steps": 0}, [1, 1, 1, 1, 1]),
        ({"negative_scale": 1.0}, [0, 0, 0, 0, 0]),
        ({"windows": True}, [0, 0, 0, 0, 0]),
    ],
)
def test_negative_prompt_is_multiplied(options, powers):
    plan = plan_guidance(EULER.changed(**options), "preview")
    assert [plan.rows[taken[0]].negative for taken in plan.taken] == powers
    assert all([plan.rows[row] for row in taken[1:]] == [Row(None, False), Row(None, True)] for taken in plan.taken)
    assert len(plan.rows) == len(set(powers)) + 2


def test_multiplying_rounds_as_bfloat16_does():
    one = np.float32([[1.0]])
    assert [multiplied(one, 1.5, times, "float32").item() for times in range(4)] == [1, 1.5, 2.25, 3.375]
    assert multiplied(np.float32([[1.234375]]), 1.5, 3, "bfloat16") == 4.1875
    assert multiplied(np.float32([[1.234375]]), 1.5, 3, "float32") == 1.234375 * 3.375


def test_flash_guides_by_speech_alone_and_evenly():
    plan = plan_guidance(DEFAULTS["flash"], "flash")
    assert plan.rows == (Row(None, False), Row(None, True))
    np.testing.assert_array_equal(plan.weights, np.tile([-2.0, 3.0], (8, 1)))
    np.testing.assert_array_equal(plan.taken, np.tile([0, 1], (8, 1)))


@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_no_guidance_is_one_evaluation_without_decay(variant):
    plan = plan_guidance(DEFAULTS[variant].changed(text_guidance=1.0), variant)
    assert plan.rows == (Row(None, True),)
    np.testing.assert_array_equal(plan.weights, 1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"solver": "mean"}, "solver is 'mean'; accepted is euler or unipc or dpm"),
        ({"steps": 0}, "steps is 0"),
        ({"chunk_frames": 112}, "chunk_frames is 112; accepted is 9, 13"),
        ({"overlap": 110}, "113 frames cannot know 110"),
        ({"height": 64}, "Height and width go together"),
        ({"height": 64, "width": 40}, "64x40 cannot be made; both sides are multiples of 16"),
        ({"chunk_tail": "lose"}, "chunk_tail is 'lose'"),
        ({"seed": -1}, "seed is -1"),
        ({"num_frames": 0}, "num_frames is 0"),
    ],
)
def test_wrong_options(options, problem):
    with pytest.raises(InputError, match=problem):
        EchoMimicSampling(**options)


def test_unknown_options_are_told():
    with pytest.raises(InputError, match="no sampling option stepz; there are: solver, steps"):
        EULER.changed(stepz=3)
