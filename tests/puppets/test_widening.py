"""A wider code: the first numbers mean what they did, and the transformer that reads it says the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import PatchCodec, PatchCodecConfig, fit_patch_codec
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.models.avatar.guess import gaussian_velocity
from actavatar_jax.models.patch_codec import STILLEST, widen_patch_codec
from actavatar_jax.puppets.widening import widen_code, widen_transformer
from actavatar_jax.weights import Component
from actavatar_jax.weights import folder as folders
from tests.models.avatar.test_dit import CONFIG as NETWORK
from tests.models.avatar.test_dit import LATENTS, TIMES, randomised, run
from tests.models.test_patch_codec import moving_disc, psnr

CONFIG = PatchCodecConfig(6, (4, 4), differences=True, patch=8, reduce=2)  # of 64 x 64 pixels
WIDE = dataclasses.replace(CONFIG, channels=20)


@pytest.fixture(scope="module")
def clips():
    return [moving_disc(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def narrow(clips):
    return fit_patch_codec(clips, CONFIG)


def bound(config, params):
    return functional.bind(PatchCodec, config, jax.tree.map(jnp.asarray, params))


def test_a_wider_code_begins_with_the_old_numbers_and_misses_less(clips, narrow):
    before = bound(CONFIG, narrow)
    after = bound(WIDE, widen_patch_codec(narrow, clips, WIDE))
    clip = jnp.asarray(moving_disc(99))[None]
    old, new = before.encode(clip), after.encode(clip)
    np.testing.assert_allclose(new[..., :6], old, atol=1e-5)
    assert psnr(after.decode(new), clip) > psnr(before.decode(old), clip) + 1
    directions = after.rest.directions[...]
    np.testing.assert_allclose(
        directions.swapaxes(-1, -2) @ directions, np.broadcast_to(np.eye(20), (4, 4, 20, 20)), atol=1e-4
    )


def test_it_is_the_code_that_would_have_been_fitted_at_once(clips, narrow):
    wide, fitted = widen_patch_codec(narrow, clips, WIDE), fit_patch_codec(clips, WIDE)
    for name in ("first", "rest"):
        overlap = np.linalg.svd(wide[name]["directions"].swapaxes(-1, -2) @ fitted[name]["directions"])[1]
        assert np.median(overlap) > 0.999
        scales = wide[name]["scale"], fitted[name]["scale"]
        moving = scales[0] ** 2 > 2 * STILLEST * np.mean(scales[0][..., :6] ** 2)
        units = np.median(scales[0][..., :6] / scales[1][..., :6])  # the narrow code's stay
        np.testing.assert_allclose(scales[0][moving], scales[1][moving] * units, rtol=0.02)
        assert moving[..., 6:].mean() > 0.3


def test_a_wider_transformer_says_the_same_and_guesses_the_rest():
    config, variance = dataclasses.replace(NETWORK, linear_guess=True), np.asarray([0.5, 0.1], np.float32)
    narrow = Component(ActAvatarDiT, config, randomised(config))
    wide = widen_transformer(narrow, variance)
    further = jax.random.normal(jax.random.key(5), (*LATENTS.shape[:-1], 2))
    made = run(wide.config, wide.params, latents=jnp.concatenate([LATENTS, further], axis=-1))
    np.testing.assert_allclose(made[..., :4], run(config, narrow.params), rtol=1e-5, atol=1e-5)
    guessed, _ = gaussian_velocity(further, TIMES / 1000, jnp.asarray(variance))
    np.testing.assert_allclose(made[..., 4:], guessed, atol=1e-6)


def test_a_folder_is_widened_whole_and_only_widened(clips, narrow, tmp_path):
    config = dataclasses.replace(NETWORK, in_channels=6, out_channels=6, linear_guess=True)
    folders.save(tmp_path, "vae", CONFIG, narrow)
    folders.save(tmp_path, "transformer", config, randomised(config))
    frames = [np.round((clip + 1) * 127.5).astype(np.uint8) for clip in clips]
    widen_code(tmp_path, frames, 8)
    vae, transformer = (folders.load(tmp_path, name, dtype="float32") for name in ("vae", "transformer"))
    assert (vae.config.channels, transformer.config.in_channels, transformer.config.out_channels) == (8, 8, 8)
    latents = bound(vae.config, vae.params).encode(jnp.asarray(np.stack(clips)))[:, 1:]
    learned = np.exp(transformer.params["latent_log_variance"][6:])
    np.testing.assert_allclose(learned, latents[..., 6:].var(axis=(0, 1, 2, 3)), rtol=0.05)
    with pytest.raises(InputError, match=r"cannot be widened to 4 channels: it has 8 channels"):
        widen_code(tmp_path, frames, 4)
