"""Drawing keyframes: cached steps are the whole pass, and what is drawn does not depend on what else is."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync.keyframes import (
    KeyframeSampling,
    KeyframeTransformer,
    Seen,
    sample_keyframes,
    sampler,
    seen_units,
)
from actavatar_jax.avatarsync.keyframes.model import Conditions
from actavatar_jax.avatarsync.units import unit_table
from actavatar_jax.errors import InputError
from tests.avatarsync.keyframes.test_model import CONFIG, REFERENCE_TOKENS, TOKENS, UNITS, C, N, T, folded, params

pytestmark = pytest.mark.usefixtures("quick_compilation")

NETWORK = functional.Network(KeyframeTransformer, CONFIG)
KEYS = jax.random.split(jax.random.key(3), C)
SEEN = seen_units(UNITS, "one_to_one")


def draw(seen=SEEN, reference=REFERENCE_TOKENS, keys=KEYS, frames=None, **options):
    sampling = KeyframeSampling(**{"top_k": 5, "guidance": 2.0} | options)
    return np.asarray(sample_keyframes(NETWORK, params(), reference, seen, keys, sampling, frames))


def test_steps_are_the_whole_pass():
    @jax.jit
    def steps(params):
        model = functional.bind(KeyframeTransformer, CONFIG, params)
        conditions = model.condition(REFERENCE_TOKENS, SEEN, model.unit_table())
        assert isinstance(conditions, Conditions) and conditions.prefix.keys.shape == (2, C, 1 + N, 2, 8)

        def step(cache, slot):
            logits, cache = model.step(slot, TOKENS[:, :, slot - 1], cache, conditions)
            return cache, logits

        return jax.lax.scan(step, model.empty_cache(C, T), jnp.arange(N))[1]

    want = folded("one_to_one")(params(), REFERENCE_TOKENS, UNITS, TOKENS)
    np.testing.assert_allclose(jnp.moveaxis(steps(params()), 0, 2), want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_tokens_are_draws_from_guided_logits(noise):
    """Whatever was drawn is the largest of guided logits and noise, computed apart, without a cache."""
    tokens = draw(noise=noise, temperature=0.8)
    told = folded("one_to_one")(params(), REFERENCE_TOKENS, UNITS, jnp.asarray(tokens))
    nothing = jnp.full_like(UNITS, unit_table().id("null"))
    null = folded("one_to_one")(params(), REFERENCE_TOKENS, nothing, jnp.asarray(tokens))
    scores = np.array((null + 2.0 * (told - null)) / 0.8)
    scores[scores < np.sort(scores)[..., -5, None]] = -np.inf
    for clip, slot in np.ndindex(C, N):
        key = jax.random.fold_in(KEYS[clip], slot)
        for frame in range(T):
            own = key if noise == "shared" else jax.random.fold_in(key, frame)
            shape = (1, 11) if noise == "shared" else (11,)
            drawn = np.argmax(scores[clip, frame, slot] + np.ravel(jax.random.gumbel(own, shape)))
            assert drawn == tokens[clip, frame, slot]


@pytest.mark.parametrize("noise", ["shared", "independent"])
def test_each_frame_of_each_clip_alone_is_the_same(noise):
    together = draw(noise=noise)
    for clip, frame in np.ndindex(C, T):
        alone = Seen(*(part[clip : clip + 1, frame : frame + 1] for part in SEEN))
        clips = slice(clip, clip + 1)
        found = draw(alone, REFERENCE_TOKENS[clips], KEYS[clips], jnp.asarray([frame]), noise=noise)
        np.testing.assert_array_equal(found[0, 0], together[clip, frame])


def test_equal_units_show_the_same_with_shared_noise_alone():
    equal = seen_units(jnp.full((C, T), 5), "one_to_one")
    shared, independent = draw(equal), draw(equal, noise="independent", temperature=5.0)
    assert (shared == shared[:, :1]).all() and (independent != independent[:, :1]).any()


def test_as_many_steps_as_tokens_however_many_frames():
    @functools.cache
    def lengths(frames):
        seen = seen_units(jnp.full((C, frames), 5), "one_to_one")
        static = (NETWORK, 5, True, True)
        trace = jax.make_jaxpr(functools.partial(sampler._sample, *static))
        jaxpr = trace(params(), REFERENCE_TOKENS, seen, KEYS, jnp.ones(2), jnp.arange(frames)).jaxpr
        return [e.params["length"] for e in _equations(jaxpr) if e.primitive.name == "scan"]

    assert lengths(1) == lengths(7) and lengths(7).count(N) == 1  # the others go through the layers, of which are 2


def _equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                yield from _equations(value.jaxpr)


def test_the_best_alone_without_guidance_is_no_draw():
    greedy = draw(top_k=1, guidance=1.0)
    logits = folded("one_to_one")(params(), REFERENCE_TOKENS, UNITS, jnp.asarray(greedy))
    np.testing.assert_array_equal(greedy, logits.argmax(-1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0; accepted is a whole number above 0"),
        ({"temperature": 0.0}, "temperature is 0.0; accepted is a number above 0"),
        ({"noise": "white"}, "noise is 'white'; accepted is shared or independent"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(KeyframeSampling(), **options)
