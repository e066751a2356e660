"""PatchCodec: the VAE's rules (4k+1 frames, causality), and the quality of principal components."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import FrameDecoderConfig, PatchCodec, PatchCodecConfig, fit_patch_codec
from actavatar_jax.models.patch_codec import enlarged, reduced
from actavatar_jax.weights import folder


def moving_disc(seed: int, frames: int = 9, side: int = 64) -> np.ndarray:
    """A bright disc that drifts over a gradient, in [-1, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cx, cy, vx, vy = *rng.uniform(16, 48, 2), *rng.uniform(-1, 1, 2)
    disc = [((x - cx - vx * f) ** 2 + (y - cy - vy * f) ** 2 < 100) for f in range(frames)]
    colour = rng.uniform(0, 1, 3)
    picture = np.where(np.stack(disc)[..., None], colour, (x / side)[None, ..., None] * np.ones(3))
    return (picture * 2 - 1).astype(np.float32)


def fitted(clips, channels: int, places=(1, 1), differences=False, **sizes):
    config = PatchCodecConfig(channels, places, differences, **sizes)
    params = fit_patch_codec(clips, config)
    return functional.bind(PatchCodec, config, jax.tree.map(jnp.asarray, params))


@pytest.fixture(scope="module")
def codec():
    return fitted([moving_disc(i) for i in range(12)], channels=64)


def psnr(a, b) -> float:
    return float(-10 * np.log10(np.mean((np.asarray(a) - np.asarray(b)) ** 2) / 4))


def test_unseen_clip_survives(codec):
    clip = jnp.asarray(moving_disc(99))[None]
    latents = codec.encode(clip)
    assert latents.shape == (1, 3, 4, 4, 64)
    assert psnr(codec.decode(latents), clip) > 26


def test_codes_have_unit_variance_and_still_patches_agree_across_time(codec):
    clips = jnp.asarray(np.stack([moving_disc(i) for i in range(12)]))
    assert float(codec.encode(clips)[:, 1:].var()) == pytest.approx(1, rel=0.2)
    still = jnp.repeat(clips[:, :1], 9, axis=1)
    latents = codec.encode(still)
    apart = jnp.abs(latents[:, 0] - latents[:, 1]).mean() / jnp.abs(latents[:, 1]).mean()
    assert float(apart) < 0.35


def test_causal_and_first_frame_alone(codec):
    clip = jnp.asarray(moving_disc(1))[None]
    latents = codec.encode(clip)
    changed = codec.encode(clip.at[:, 5:].add(0.1))
    assert np.array_equal(latents[:, :2], changed[:, :2])
    assert not np.array_equal(latents[:, 2], changed[:, 2])
    np.testing.assert_allclose(codec.encode(clip[:, :1]), latents[:, :1], atol=1e-5)
    np.testing.assert_allclose(codec.decode(latents[:, :2]), codec.decode(latents)[:, :5], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 64, 64, 3), (1, 9, 60, 64, 3)])
def test_wrong_shapes_are_refused(codec, shape):
    with pytest.raises(InputError, match="4k\\+1 frames"):
        codec.encode(jnp.zeros(shape))


@pytest.mark.slow
def test_bases_of_every_place_are_sharper_where_everything_has_its_place():
    """Pictures whose left half is always stripes and whose right half is always a ramp, of random brightness."""
    y, x = np.mgrid[:16, :32]
    pattern = np.where(x < 16, np.sign(np.sin(y * 1.3)), (x - 24) / 8)[None, ..., None]
    strengths = np.random.default_rng(0).uniform(-0.8, 0.8, (24, 2)).repeat(16, axis=1)[:, None, None, :, None]
    clips = [np.tile(pattern * strength, (5, 1, 1, 3)).astype(np.float32) for strength in strengths]
    own, shared = fitted(clips[:16], 1, (1, 2)), fitted(clips[:16], 1)
    unseen = jnp.asarray(np.stack(clips[16:]))
    assert psnr(own.decode(own.encode(unseen)), unseen) > 50
    assert psnr(shared.decode(shared.encode(unseen)), unseen) < 25
    assert float(own.encode(jnp.asarray(np.stack(clips[:16]))).var()) == pytest.approx(1, rel=0.01)
    with pytest.raises(InputError, match="16x32"):
        own.encode(jnp.zeros((1, 5, 32, 32, 3)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        PatchCodecConfig(5),
        PatchCodecConfig(5, (2, 3), differences=True),
        PatchCodecConfig(5, (1, 1), True, 8, 2, FrameDecoderConfig((4, 6), warps=1, shuffle=4)),
    ],
)
def test_a_model_folder_gives_it_back(tmp_path, config):
    params = jax.device_get(functional.init(PatchCodec, config, jax.random.key(0)))
    folder.save(tmp_path, "vae", config, params)
    stored = folder.load(tmp_path, "vae")
    assert stored.config == config
    jax.tree.map(np.testing.assert_array_equal, stored.params, params)


def test_differences_code_still_parts_as_zero_and_moving_ones_as_well_as_before(codec):
    differing = fitted([moving_disc(i) for i in range(12)], channels=64, differences=True)
    clip = jnp.asarray(moving_disc(99))[None]
    still = jnp.repeat(clip[:, :1], 9, axis=1)
    mean = differing.encode(still)[:, 1:]
    np.testing.assert_allclose(mean, jnp.broadcast_to(mean[:, :1, :1, :1], mean.shape), atol=1e-5)
    assert np.abs(mean).mean() < 0.25 * np.abs(codec.encode(still)[:, 1:]).mean()
    assert psnr(differing.decode(differing.encode(clip)), clip) > 26
    np.testing.assert_allclose(differing.encode(clip[:, :5]), differing.encode(clip)[:, :2], atol=1e-5)


@pytest.mark.slow
def test_patches_of_other_sides_and_smaller_pictures_keep_the_rules():
    clips = [moving_disc(i) for i in range(12)]
    clip = jnp.asarray(moving_disc(99))[None]
    for sizes, shape, least in (({"patch": 8}, (1, 3, 8, 8, 64), 30), ({"reduce": 2}, (1, 3, 2, 2, 64), 22)):
        codec = fitted(clips, 64, differences=True, **sizes)
        latents = codec.encode(clip)
        assert latents.shape == shape and codec.config.stride == 64 // shape[2]
        assert psnr(codec.decode(latents), clip) > least
        np.testing.assert_allclose(codec.encode(clip[:, :5]), latents[:, :2], atol=1e-5)
        with pytest.raises(InputError, match=f"multiples of {codec.config.stride}"):
            codec.encode(clip[:, :, : 64 - 4])


def test_pictures_are_averaged_down_and_enlarged_in_straight_lines():
    ramp = jnp.arange(8.0).reshape(1, 1, 1, 8, 1) * jnp.ones((1, 1, 4, 8, 3))
    assert reduced(ramp, 2)[0, 0, 0, :, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    np.testing.assert_allclose(enlarged(reduced(ramp, 2), 2)[0, 0, :, 1:-1], ramp[0, 0, :, 1:-1], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", [None, FrameDecoderConfig((4, 6))])
def test_a_clean_first_frame_is_kept_and_is_the_ground_of_the_others(decoder):
    config = PatchCodecConfig(64, differences=True, decoder=decoder)
    params = fit_patch_codec([moving_disc(i) for i in range(12)], config)
    if decoder:
        drawn = functional.init(PatchCodec, config, jax.random.key(0))["decoder"]
        params = params | {"decoder": jax.tree.map(lambda leaf: leaf + 0.02, drawn)}
    codec = functional.bind(PatchCodec, config, jax.tree.map(jnp.asarray, params))
    clip = jnp.asarray(np.stack([moving_disc(98), moving_disc(99)]))
    latents = codec.encode(clip)
    with_first, without = codec.decode(latents, clip[:, 0]), codec.decode(latents)
    np.testing.assert_array_equal(with_first[:, 0], clip[:, 0])
    assert without.shape == with_first.shape and psnr(without[:, 0], clip[:, 0]) < 50
    still = jnp.repeat(clip[:, :1], 9, axis=1)
    assert (
        psnr(codec.decode(codec.encode(still), clip[:, 0]), still) > psnr(codec.decode(codec.encode(still)), still) + 5
    )
    for first in (None, clip[:, 0]):
        np.testing.assert_allclose(codec.decode_stream(latents, first), codec.decode(latents, first), atol=1e-5)
        np.testing.assert_allclose(codec.decode(latents[:, :2], first), codec.decode(latents, first)[:, :5], atol=1e-5)


def test_a_learned_decoder_needs_differences():
    with pytest.raises(InputError, match="differences"):
        functional.init(PatchCodec, PatchCodecConfig(4, decoder=FrameDecoderConfig()), jax.random.key(0))


@pytest.mark.slow
def test_first_frames_of_another_world_are_strange():
    codec = fitted([moving_disc(i) for i in range(24)], channels=48, differences=True)
    own = codec.encode(jnp.asarray(np.stack([moving_disc(seed, frames=1) for seed in range(100, 116)])))
    stripes = np.sign(np.sin(np.arange(64) * 1.9))[None, None, :, None] * np.ones((1, 64, 64, 3), np.float32)
    foreign = codec.encode(jnp.asarray(stripes[None], jnp.float32))
    strange = np.asarray(codec.strangeness(own))
    assert 0.2 < np.median(strange) < 3 and float(codec.strangeness(foreign)[0]) > 5 * strange.max()
