"""What the networks are trained by: each term, and where gradients go."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax import functional
from actavatar_jax.avatarsync import (
    KeyframeConfig,
    KeyframeTransformer,
    LFQTokenizer,
    SmallLFQConfig,
    seen_units,
)
from actavatar_jax.avatarsync.interpolation import Stages
from actavatar_jax.avatarsync.losses import BetweenLoss, PixelLoss, ReconstructionLoss, TokenLoss
from actavatar_jax.avatarsync.losses.between import pyramid
from actavatar_jax.avatarsync.losses.tokens import straight_through
from actavatar_jax.avatarsync.tokenizer import lfq
from actavatar_jax.avatarsync.units.table import PAD, unit_table
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from tests.avatarsync.drawn import random_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = SmallLFQConfig(widths=(8, 16), patch=4, tokens=(2, 2), bits=4, groups=4)
TOKENIZER = Network(LFQTokenizer, SMALL)
KEYFRAMES = Network(
    KeyframeTransformer, KeyframeConfig(width=16, heads=2, layers=2, ffn=32, vocabulary=16, tokens=(2, 2))
)
RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def tokenizer():
    return jax.tree.map(jnp.asarray, random_params(LFQTokenizer, SMALL))


@pytest.fixture(scope="module")
def keyframes():
    return jax.tree.map(jnp.asarray, random_params(KeyframeTransformer, KEYFRAMES.config))


def window(copied=()):
    """`copied`: keyframes that are the portrait."""
    tokens = RNG.integers(0, 16, (2, 3, 4), np.int32)
    pixels = RNG.integers(0, 256, (2, 3, 16, 16, 3), np.uint8)
    units, places = RNG.integers(4, 40, (2, 5), np.int32), np.asarray([[3, 0, 2], [1, 4, 0]], np.int32)
    units[0, 4] = unit_table().id(PAD)  # the first clip has one less
    reference = RNG.integers(0, 16, (2, 4), np.int32)
    tokens[:, copied] = reference[:, None]
    batch = {"reference": reference, "units": units, "places": places, "tokens": tokens, "pixels": pixels}
    return {name: jnp.asarray(entry) for name, entry in batch.items()}


class Brightness(nnx.Module):
    """Stands for a face network: a picture's mean colour."""

    def __init__(self, config, *, rngs):
        self.gain = nnx.Param(jnp.ones(3))

    def __call__(self, pixels):
        return pixels.mean((1, 2)) * self.gain[...][None] + 2


class Difference(nnx.Module):
    """Stands for LPIPS."""

    def __init__(self, config, *, rngs):
        self.gain = nnx.Param(jnp.ones(()))

    def __call__(self, one, other):
        return self.gain[...] * ((one - other) ** 2).mean((1, 2, 3))


FACES, LPIPS = Network(Brightness, 0), Network(Difference, 0)
FROZEN = {"faces": {"gain": np.ones(3, np.float32)}, "lpips": {"gain": np.ones((), np.float32)}}


def test_reconstruction_is_l1_and_l2_with_more_weight_in_the_box(tokenizer):
    pixels = RNG.integers(0, 256, (2, 16, 16, 3), np.uint8)
    box = (0.5, 1.0, 0.25, 0.75)
    loss = ReconstructionLoss(TOKENIZER, focus=3.0, box=box)
    value, measured = jax.jit(loss)(tokenizer, {}, {"pixels": pixels}, KEY)
    truth = pixels.astype(np.float32) / 127.5 - 1
    made, numbers = jax.jit(TOKENIZER.bind(tokenizer))(jnp.asarray(truth))
    error = np.abs(np.asarray(made) - truth)
    weight = np.ones((16, 16, 1))
    weight[8:, 4:12] = 4
    recon = ((error + error**2) * weight).mean() / weight.mean()
    terms = lfq.losses(numbers, 0.5)
    np.testing.assert_allclose(value, recon + 0.02 * terms.entropy + 0.05 * terms.commit, rtol=1e-5)
    inside = (np.clip(np.asarray(made), -1, 1) - truth)[:, 8:, 4:12]
    np.testing.assert_allclose(measured["psnr_box"], -10 * np.log10((inside**2 / 4).mean()), rtol=1e-4)
    for wrong in ((0.5, 0.5, 0.0, 1.0), (0.0, 1.0, 0.0, 1.5)):
        with pytest.raises(InputError, match="four shares from 0 to 1"):
            ReconstructionLoss(TOKENIZER, box=wrong)


def test_tokens_that_are_not_the_portraits_are_counted_apart(keyframes):
    batch = window(copied=[0])
    value, measured = jax.jit(TokenLoss(KEYFRAMES, null_share=0.0))(keyframes, {}, batch, KEY)
    reference, tokens = batch["reference"], batch["tokens"]
    units = jnp.take_along_axis(batch["units"], batch["places"], axis=1)
    see = jax.jit(lambda *parts: KEYFRAMES.bind(keyframes)(parts[0], seen_units(parts[1], "one_to_one"), parts[2]))
    logits = see(reference, units, tokens)
    told = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), np.asarray(tokens)[..., None], -1)[..., 0]
    changed = np.asarray(tokens != reference[:, None])
    np.testing.assert_allclose(value, -told.mean(), rtol=1e-5)
    np.testing.assert_allclose(measured["loss_changed"], -told[changed].mean(), rtol=1e-5)
    assert measured["changed"] == pytest.approx(changed.mean()) and not changed[:, 0].any()


def test_a_frame_that_is_told_no_unit_learns_nothing_of_it(keyframes):
    batch = window()
    gradient = jax.jit(jax.grad(lambda p, share: TokenLoss(KEYFRAMES, share)(p, {}, batch, KEY)[0]), static_argnums=1)
    of_units = {share: np.abs(np.asarray(gradient(keyframes, share)["units"])).sum(-1) for share in (0.0, 1.0)}
    told = np.unique(np.take_along_axis(*(np.asarray(batch[name]) for name in ("units", "places")), axis=1))
    assert (of_units[0.0][told] > 0).all() and (of_units[1.0][told] == 0).all()
    assert of_units[1.0][1] > 0 and of_units[0.0][1] == 0  # the null unit


@pytest.mark.parametrize(("visible", "seen"), [("limited", {0: (3, 2, 0, 1), 1: (1, 0, 4, 3)}), ("full", {})])
def test_frames_see_units_of_the_clip_and_not_of_the_batch(keyframes, visible, seen):
    network = Network(KeyframeTransformer, dataclasses.replace(KEYFRAMES.config, visible=visible))
    batch = window() | {"units": jnp.asarray([[10, 11, 12, 13, 14], [20, 21, 22, 23, 24]])}
    gradient = jax.jit(jax.grad(lambda p: TokenLoss(network, null_share=0.0)(p, {}, batch, KEY)[0]))(keyframes)
    looked_at = np.flatnonzero(np.abs(np.asarray(gradient["units"])).sum(-1))
    wanted = [10 * (clip + 1) + place for clip in (0, 1) for place in set(seen.get(clip, range(5)))]
    assert set(looked_at) == set(wanted)


def test_codes_are_drawn_and_pass_the_gradient_of_their_mean():
    logits = jnp.asarray(RNG.normal(size=(1, 2, 3, 16)).astype(np.float32))
    codes = straight_through(logits, 4, 0.7, KEY)
    assert set(np.unique(codes.round(5))) == {-1.0, 1.0}
    wanted = jax.grad(lambda x: (jax.nn.softmax(x / 0.7) @ lfq.to_codes(jnp.arange(16), 4)).sum())(logits)
    found = jax.grad(lambda x: straight_through(x, 4, 0.7, KEY).sum())(logits)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    sure = straight_through(1e4 * jax.nn.one_hot(jnp.arange(6).reshape(1, 2, 3), 16), 4, 1.0, KEY)
    np.testing.assert_array_equal(lfq.to_indices(sure), np.arange(6).reshape(1, 2, 3))


def test_pixels_add_to_the_loss_of_tokens_and_move_the_transformer_alone(keyframes, tokenizer):
    batch, frozen = window(), {**FROZEN, "tokenizer": tokenizer}
    plain = TokenLoss(KEYFRAMES, 0.0)
    both = PixelLoss(LPIPS, FACES, perceptual=2.0, identity=0.5)
    seen = dataclasses.replace(plain, pixels=both, tokenizer=TOKENIZER)
    alone, _ = jax.jit(plain)(keyframes, frozen, batch, KEY)
    value, measured = jax.jit(seen)(keyframes, frozen, batch, KEY)
    np.testing.assert_allclose(value, alone + 2 * measured["lpips"] + 0.5 * measured["identity"], rtol=1e-5)
    assert measured["lpips"] > 0 and measured["identity"] > 0

    def pixels_alone(params):
        return seen(params, frozen, batch, KEY)[0] - plain(params, frozen, batch, KEY)[0]

    gradient = functional.flatten(jax.jit(jax.grad(pixels_alone))(keyframes))
    assert float(jnp.abs(gradient["head/kernel"]).max()) > 1e-6


def test_a_term_without_its_network_is_off():
    made, wanted = (jnp.asarray(RNG.uniform(-1, 1, (2, 8, 8, 3)), jnp.float32) for _ in range(2))
    value, terms = PixelLoss()({}, made, wanted)
    assert value == 0 and terms == {}
    value, terms = PixelLoss(faces=FACES)(FROZEN, made, wanted)
    assert set(terms) == {"identity"} and value == 0.5 * terms["identity"]
    assert PixelLoss(LPIPS, FACES)(FROZEN, made, made)[0] == pytest.approx(0, abs=1e-6)


def test_a_pyramid_adds_up_again():
    x = jnp.asarray(RNG.normal(size=(2, 16, 8, 3)), jnp.float32)
    parts = list(pyramid(x, 5))
    assert [part.shape[1:3] for part in parts] == [(16, 8), (8, 4), (4, 2), (2, 1)]
    whole = parts[-1]
    for part in reversed(parts[:-1]):
        whole = part + jax.image.resize(whole, part.shape, "linear")
    np.testing.assert_allclose(whole, x, atol=1e-5)


class Mixing(nnx.Module):
    """Stands for an interpolator: a mixture that may be learnt."""

    def __init__(self, config, *, rngs):
        self.share = nnx.Param(jnp.ones(()))

    def __call__(self, first, second, t):
        t = (self.share[...] * t)[:, :, None, None, None]
        frames = first[:, None] * (1 - t) + second[:, None] * t
        return Stages(frames, (frames, frames + 0.1))


def test_the_loss_of_intervals_is_nothing_for_the_right_time_and_sees_the_tokenizers_pictures(tokenizer):
    first, second = RNG.integers(0, 256, (2, 4, 16, 16, 3), np.uint8)
    t = np.float32([0.25, 0.5, 0.75, 0.5])
    weight = t[:, None, None, None]
    between = np.round(first * (1 - weight) + second * weight).astype(np.uint8)
    batch = jax.tree.map(jnp.asarray, {"first": first, "between": between, "second": second, "t": t})
    plain = BetweenLoss(Network(Mixing, 0), blends=0.0, levels=2)
    measure = jax.jit(plain)
    right, measured = measure({"share": jnp.ones(())}, {}, batch, KEY)
    wrong, _ = measure({"share": jnp.zeros(())}, {}, batch, KEY)
    assert right < 0.01 < wrong and measured["psnr"] > 50 > measured["psnr_held"]
    with_blends, _ = jax.jit(dataclasses.replace(plain, blends=0.5))({"share": jnp.ones(())}, {}, batch, KEY)
    np.testing.assert_allclose(with_blends - right, 0.5 * (right + 0.1), atol=0.005)
    decoded = BetweenLoss(Network(Mixing, 0), TOKENIZER, decoded=0.5, blends=0.0, levels=2)
    frozen = {"tokenizer": tokenizer}
    value, _ = jax.jit(decoded)({"share": jnp.ones(())}, frozen, batch, KEY)
    half = {name: entry[2:] for name, entry in batch.items()}
    rest, _ = jax.jit(plain)({"share": jnp.ones(())}, {}, half, KEY)
    model = TOKENIZER.bind(tokenizer)
    made = [
        model.decode(model.encode(jnp.asarray(one[:2] / 127.5 - 1, jnp.float32))) / 2 + 0.5
        for one in (first, between, second)
    ]
    mixed = made[0] * (1 - weight[:2]) + made[2] * weight[:2]
    pairs = zip(pyramid(mixed, 2), pyramid(made[1], 2), strict=True)
    np.testing.assert_allclose(value, (rest + sum(jnp.abs(a - b).mean() for a, b in pairs)) / 2, rtol=1e-4)
