"""TeaCache: which calls are left out, and what stands in their place."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.diffusion.solvers import model_times
from actavatar_jax.echomimic import DEFAULTS
from actavatar_jax.echomimic.levels import noise_levels
from actavatar_jax.echomimic.programs import cached_function, embed, embed_times, teacache_memory, velocity_function
from actavatar_jax.echomimic.tasks import known_channels, known_frames
from actavatar_jax.echomimic.teacache import POLYNOMIAL, distances, made_calls, plan_calls
from actavatar_jax.errors import InputError
from tests.echomimic.tiny import CONFIGS, TEXTS, picture, pipeline, speech

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_the_polynomial_is_the_published_one():
    assert POLYNOMIAL(0.0) == pytest.approx(-0.05, abs=1e-4)
    d = np.linspace(0, 0.11, 1101)
    assert d[np.argmax(POLYNOMIAL(d))] == pytest.approx(0.079, abs=0.001)
    assert POLYNOMIAL(d).max() == pytest.approx(0.2536, abs=1e-4)
    assert POLYNOMIAL(0.103) < 0


def test_calls_are_left_out_until_their_distances_add_up():
    small = 0.02  # of which the polynomial makes 0.0782
    assert POLYNOMIAL(small) == pytest.approx(0.0782, abs=1e-4)
    made = made_calls([0.0] + [small] * 11, threshold=0.1, cycle=12)
    assert made.tolist() == [True] * 5 + [False, True] * 3 + [False]
    assert made_calls([small] * 12, 1e-9, 12).all()
    again = made_calls([0.0] * 16, threshold=0.1, cycle=8)  # no distance: only the first five of each cycle
    assert np.flatnonzero(again).tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(("steps", "guided"), [(8, [0, 1, 4, 5]), (25, [0, 1, 12, 13, 14])])
def test_where_branches_share_a_memory_guidance_is_gone_from_most_steps(steps, guided):
    """Whatever the weights: the second call of a step has no distance to the first."""
    modulations = np.random.default_rng(0).normal(size=(steps, 1)).cumsum(axis=0) + 50
    made = plan_calls(modulations, 2, "shared", 0.1)
    assert np.flatnonzero(made[:, 1]).tolist() == guided
    separate = plan_calls(modulations, 2, "separate", 0.1)
    assert np.array_equal(separate[:, 0], separate[:, 1]) and separate[:5].all()


def test_distances_are_relative_means():
    found = distances(np.asarray([[1.0, -3.0], [2.0, -2.0], [2.0, -2.0]]))
    np.testing.assert_allclose(found, [0, 0.5, 0])


@pytest.fixture(scope="module")
def given():
    """Network, parameters and conditions of flash: two branches, text alone and text with speech."""
    pipe, rng, frames = pipeline("flash"), np.random.default_rng(0), 9
    network, params = pipe.transformer.network, jax.tree.map(jnp.asarray, pipe.transformer.params)
    text = np.repeat(rng.normal(size=(1, 24, 12)).astype(np.float32), 2, axis=0)
    audio = rng.normal(size=(2, frames, 2, 6)).astype(np.float32)
    audio[0] = 0
    known = known_channels(known_frames(frames, 48, 32, {0: picture(0)}), pipe.encoders.vae)
    conditions = embed(network, params, text, rng.normal(size=(5, 20)).astype(np.float32), audio, known, None)
    latents = jnp.asarray(rng.normal(size=(1, 3, 12, 8, 4)), jnp.float32)
    return network, params, conditions, latents


TAKEN, WEIGHTS = np.int32([0, 1]), np.float32([-2.0, 3.0])


def call(given, function, *own, time=500.0, latents=None, memory=None):
    _, params, conditions, first = given
    latents = first if latents is None else latents
    arguments = latents, jnp.full((1, 3), time), (params, conditions), (TAKEN, WEIGHTS, *own)
    return jax.jit(function)(*arguments, *(() if memory is None else (memory,)))


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_with_every_call_made_it_is_the_plain_velocity(given, shared):
    network, _, _, latents = given
    memory = teacache_memory(network, 1 if shared else 2, latents.shape[1:4])
    made, after = call(given, cached_function(network, shared), np.asarray([True, True]), memory=memory)
    plain = call(given, velocity_function(network))
    np.testing.assert_allclose(made, plain, atol=1e-5 * np.abs(plain).max())
    assert after.shape == memory.shape and np.abs(after).max() > 0


@pytest.mark.slow
def test_a_call_that_is_left_out_adds_what_was_added_before(given):
    """At the same latents and time that is exactly what it would have added."""
    network, _, _, latents = given
    function = cached_function(network, False)
    memory = teacache_memory(network, 2, latents.shape[1:4])
    first, memory = call(given, function, np.asarray([True, True]), memory=memory)
    again, kept = call(given, function, np.asarray([False, False]), memory=memory)
    np.testing.assert_allclose(again, first, atol=1e-4 * np.abs(first).max())
    np.testing.assert_array_equal(kept, memory)
    moved, _ = call(given, function, np.asarray([False, False]), memory=memory, latents=latents + 0.3)
    exact = call(given, velocity_function(network), latents=latents + 0.3)
    assert np.abs(moved - exact).max() > 1e-3 * np.abs(exact).max()


@pytest.mark.slow
def test_where_the_memory_is_shared_the_branch_without_speech_repeats_the_one_with_it(given):
    """Its weight then goes to the other: -2 v(T,A) + 3 v(T,A)."""
    network, params, conditions, latents = given
    function, memory = cached_function(network, True), teacache_memory(network, 1, latents.shape[1:4])
    got, _ = call(given, function, np.asarray([False, True]), memory=memory)
    alone = (params, conditions), (TAKEN[1:], np.float32([1.0]))
    heard = jax.jit(velocity_function(network))(latents, jnp.full((1, 3), 500.0), *alone)
    np.testing.assert_allclose(got, heard, atol=1e-4 * np.abs(heard).max())


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "mode"), [("preview", "separate"), ("flash", "separate"), ("flash", "shared")])
def test_a_video_with_teacache(variant, mode):
    """With a threshold that is always reached it is the plain one; with one that is never reached, another."""
    pipe, face = pipeline(variant), {"face": "everywhere"} if variant == "preview" else {}
    options = {"steps": 7, "negative_prompt": TEXTS[1], "match_colours": False, **face}
    plain = pipe(picture(0), speech(9), TEXTS[0], **options).frames.astype(int)
    s = dataclasses.replace(DEFAULTS[variant], steps=7)
    params, times = pipe.transformer.params, model_times(s.solver, noise_levels(s, variant))
    told = np.asarray(embed_times(pipe.transformer.network, params, times))
    assert told.shape == (7, 6 * CONFIGS[variant].width) and (distances(told)[1:] > 0).all()
    never = pipe(picture(0), speech(9), TEXTS[0], teacache=mode, teacache_threshold=1e9, **options).frames.astype(int)
    assert np.abs(never - plain).max() > 0
    if mode == "separate" and (POLYNOMIAL(distances(told)) > 0)[5:].all():
        always = pipe(picture(0), speech(9), TEXTS[0], teacache=mode, teacache_threshold=1e-9, **options)
        assert np.abs(always.frames.astype(int) - plain).max() <= 1


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="leave teacache off"):
        DEFAULTS["preview"].changed(windows=True, teacache="separate")
    with pytest.raises(InputError, match="nothing to share; take separate"):
        pipeline("preview")(picture(0), speech(9), TEXTS[0], face="everywhere", teacache="shared")
    with pytest.raises(InputError, match="teacache is 'on'; accepted is off or separate or shared"):
        DEFAULTS["flash"].changed(teacache="on")
