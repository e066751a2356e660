"""MotionCodec: the VAE's rules, what is drawn and of which colours, and a code that the decoder listens to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models.motion import MotionCodec, MotionCodecConfig, MotionDecoderConfig
from actavatar_jax.models.motion.pixels import CELL
from actavatar_jax.models.patch_codec import fit_first_frames
from actavatar_jax.weights import folder

DECODER = MotionDecoderConfig(widths=(8, 12), blocks=1, warps=2, found=3, fixed=2)
CONFIG = MotionCodecConfig(channels=6, places=(2, 3), reduce=2, widths=(8, 8, 8), decoder=DECODER)


@functools.cache
def drawn():
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    params = draw(MotionCodec, CONFIG, jax.random.key(0))
    rng = np.random.default_rng(1)  # what starts at zero would say nothing
    return jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape, np.float32), params)


def fresh():
    return jax.tree.map(lambda leaf: leaf, drawn())


def codec(params=None):
    return functional.bind(MotionCodec, CONFIG, fresh() if params is None else params)


def clip(frames=9, seed=0, size=CONFIG.size):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (2, frames, *size, 3)), jnp.float32)


def choosing(candidate):
    """Parameters that take one candidate everywhere, in its place in (first frame, warps ..., palette ...)."""
    params = fresh()
    planes = np.zeros((1 + DECODER.warps + DECODER.found + DECODER.fixed, 4, CELL, CELL), np.float32)
    planes[candidate] = 80
    params["decoder"]["mix"]["linear"] = {
        "kernel": 0 * params["decoder"]["mix"]["linear"]["kernel"],
        "bias": jnp.asarray(planes.reshape(-1)),
    }
    return params


# ---- the VAE's rules


def test_shapes_and_lengths():
    latents = codec().encode(clip())
    assert latents.shape == (2, 3, 2, 3, 6)
    np.testing.assert_allclose(jnp.mean(latents[:, 1:] ** 2, axis=-1), 1, rtol=1e-4)
    frames = codec().decode(latents, clip()[:, 0])
    assert frames.shape == clip().shape
    assert float(jnp.abs(frames).max()) <= 1


def test_causal_and_first_frame_alone():
    latents = codec().encode(clip())
    changed = codec().encode(clip().at[:, 5:].add(0.1))
    assert np.array_equal(latents[:, :2], changed[:, :2])
    assert not np.allclose(latents[:, 2], changed[:, 2], atol=1e-3)
    np.testing.assert_allclose(codec().encode(clip()[:, :1]), latents[:, :1], atol=1e-5)
    first = clip()[:, 0]
    np.testing.assert_allclose(codec().decode(latents[:, :2], first), codec().decode(latents, first)[:, :5], atol=1e-5)


def test_streaming_gives_what_the_whole_gives():
    latents = codec().encode(clip(13))
    for first in (clip()[:, 0], None):
        np.testing.assert_allclose(codec().decode_stream(latents, first), codec().decode(latents, first), atol=1e-5)


def test_a_clean_first_frame_is_kept_and_without_one_there_is_what_the_code_keeps():
    latents = codec().encode(clip())
    assert np.array_equal(codec().decode(latents, clip()[:, 0])[:, 0], clip()[:, 0])
    kept = codec().decode(latents)
    assert 0 < float(jnp.abs(kept[:, 0] - clip()[:, 0]).mean()) < 1.5


@pytest.mark.parametrize(("frames", "size"), [(8, CONFIG.size), (9, (48, 32)), (9, (32, 64))])
def test_wrong_sizes_are_refused(frames, size):
    with pytest.raises(InputError, match=f"got {frames} frames of .*; it takes 4k\\+1 frames of 32x48"):
        codec().encode(clip(frames, size=size))


# ---- what is drawn


def test_a_new_decoder_draws_mostly_the_first_frame():
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    new = codec(draw(MotionCodec, CONFIG, jax.random.key(0)))
    frames = new.decode(new.encode(clip()), clip()[:, 0])
    assert 0 < float(jnp.abs(frames - clip()[:, :1]).mean()) < 0.15


def test_the_first_frame_its_warps_and_every_colour_can_be_had():
    first, params = clip()[:, 0], choosing(0)
    latents = codec(params).encode(clip())
    still = np.broadcast_to(first[:, None], clip().shape)
    np.testing.assert_allclose(codec(params).decode(latents, first), still, atol=1e-5)

    params = choosing(2)  # the second warp: frame f is read 2 f pixels to the left, and beyond the edge as it ends
    flow = np.zeros((2, DECODER.warps, 4), np.float32)
    flow[1, 1] = (0, -2, -4, -6)
    params["decoder"]["flow"]["linear"] = {
        "kernel": 0 * params["decoder"]["flow"]["linear"]["kernel"],
        "bias": jnp.asarray(flow.reshape(-1) / CELL),
    }
    warped = codec(params).decode(latents, first)[:, 1:5]
    for frame in range(4):
        expected = first[:, :, np.clip(np.arange(48) - 2 * frame, 0, 47)]
        np.testing.assert_allclose(warped[:, frame], expected, atol=1e-5)

    for number in range(DECODER.found + DECODER.fixed):
        one = codec(choosing(1 + DECODER.warps + number))
        palette = jnp.clip(one.decoder.see(first).palette[:, number], -1, 1)
        flat = np.broadcast_to(palette[:, None, None, None], (2, 8, *CONFIG.size, 3))
        np.testing.assert_allclose(one.decode(latents, first)[:, 1:], flat, atol=1e-5)


def test_colours_are_those_of_the_first_frame_that_are_nearest_to_the_wanted_ones():
    red, green, wall = np.float32([0.9, -0.8, -0.8]), np.float32([-0.7, 0.8, -0.6]), np.float32([0.1, 0.2, 0.4])
    first = np.tile(wall, (1, *CONFIG.size, 1))
    first[:, 4:9, 5:11], first[:, 20:22, 30:40] = red, green
    params = fresh()
    params["decoder"]["wanted"] = jnp.asarray([[1.0, -1, -1], [-1, 1, -1], [0, 0, 1]])
    palette = codec(params).decoder.see(jnp.asarray(first)).palette[0]
    np.testing.assert_allclose(palette[:3], [red, green, wall], atol=0.02)
    np.testing.assert_array_equal(palette[3:], params["decoder"]["colours"])


def test_the_code_is_heard_by_its_direction_everywhere_in_the_picture():
    first, latents = clip()[:, 0], codec().encode(clip())
    before = codec().decode(latents, first)
    np.testing.assert_allclose(codec().decode(latents.at[:, 1:].multiply(3.0), first), before, atol=1e-4)
    told = codec().decode(latents.at[:, 1, 1, 2].multiply(-1.0), first)
    changed = jnp.abs(told - before)[:, 1:5]
    assert changed[:, :, 16:, 32:].mean() > 1e-3  # its own place
    assert np.array_equal(told[:, 5:], before[:, 5:])


def test_an_unchanged_group_and_a_changed_one_have_other_codes():
    latents = codec().encode(clip().at[:, 1:5].set(clip()[:, :1]))
    assert np.abs(latents[:, 1] - latents[:, 2]).mean() > 0.1


def test_gradients_reach_every_part():
    def loss(params):
        net = functional.bind(MotionCodec, CONFIG, params)
        code = net.encoder(clip(5)[:, 1:], clip()[:, 0])
        return jnp.abs(net.decoder.draw(net.decoder.see(clip()[:, 0]), code) - clip(5)[:, 1:]).mean()

    gradient = functional.flatten(jax.jit(jax.grad(loss))(fresh()))
    silent = {name for name, leaf in gradient.items() if not np.abs(leaf).max() > 0}
    assert silent == {"first/mean", "first/directions", "first/scale"}


# ---- its code of frame 0, and files


def test_first_frames_of_the_same_world_are_not_strange_and_others_are():
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(3, *CONFIG.size, 3)).astype(np.float32) / 4
    clips = [np.tensordot(rng.normal(size=(5, 3)).astype(np.float32), directions, 1) for _ in range(30)]
    params = {**fresh(), "first": jax.tree.map(jnp.asarray, fit_first_frames(clips, CONFIG.first))}
    alike = np.tensordot(rng.normal(size=(40, 3)).astype(np.float32), directions, 1)[:, None]
    ours = codec(params).strangeness(codec(params).encode(jnp.asarray(alike)))
    others = codec(params).strangeness(codec(params).encode(clip(1)))
    assert float(ours.mean()) < 2 < 0.5 * float(others.min())


def test_a_folder_gives_it_back(tmp_path):
    folder.save(tmp_path, "vae", CONFIG, jax.device_get(fresh()))
    stored = folder.load(tmp_path, "vae")
    assert (stored.module, stored.config) == (MotionCodec, CONFIG)
    jax.tree.map(np.testing.assert_array_equal, dict(stored.params), fresh())


@pytest.mark.parametrize(
    "wrong",
    [
        {"channels": 0},
        {"places": (0, 4)},
        {"widths": (8,)},
        {"decoder": MotionDecoderConfig(widths=(4,) * 4)},
        {"reduce": 3},
    ],
)
def test_wrong_configs_are_refused(wrong):
    with pytest.raises(InputError, match="MotionCodec"):
        MotionCodecConfig(**{"widths": (8, 8, 8), "decoder": DECODER, **wrong})


@pytest.mark.parametrize("wrong", [{"widths": (8,)}, {"warps": 0}, {"found": 0}, {"fixed": 0}, {"blocks": 0}])
def test_wrong_decoders_are_refused(wrong):
    with pytest.raises(InputError, match=r"The motion decoder.s .*; accepted"):
        MotionDecoderConfig(**wrong)
