"""Training a `WanVAE` from scratch: it starts as an image model, its loss falls, it stays causal, it can be loaded."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.media import write_video
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.runs.vae import run_vae_training
from actavatar_jax.training import vae as training
from actavatar_jax.training.settings import VAEPhase
from actavatar_jax.weights import folder
from configs import vae as config_file
from data_pipelines.clips import cut_pixel_windows

pytestmark = pytest.mark.slow


def moving_squares(size=32, frames=5, seed=0):
    """Eight clips over and over: a square of one colour drifts over a ground of another."""
    rng = np.random.default_rng(seed)
    clips = []
    for _ in range(8):
        clip = np.empty((frames, size, size, 3), np.uint8)
        clip[:] = rng.integers(0, 256, 3)
        colour, (x, y), (dx, dy) = rng.integers(0, 256, 3), rng.integers(0, size // 2, 2), rng.integers(0, 3, 2)
        for t in range(frames):
            clip[t, y + t * dy : y + t * dy + size // 3, x + t * dx : x + t * dx + size // 3] = colour
        clips.append(clip)
    return itertools.cycle(clips)


# Two stages instead of four: half the time to compile.
TINY = {"encoder_base": 8, "decoder_base": 8, "multipliers": (1, 1), "temporal_down": (True,)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("vae")
    config = config_file.get_config("runlocal")
    config.model.update(TINY)
    jax.config.update("jax_disable_most_optimizations", True)  # compiling is most of the time here
    try:
        config, params = run_vae_training(config, moving_squares(), workdir)
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    return config, params, workdir


def test_the_loss_falls(trained):
    records = [json.loads(line) for line in (trained[2] / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == list(range(5, 65, 5))
    assert [r["frames"] for r in records] == [1] * 7 + [5] * 5  # the image phase ends at step 36
    assert np.mean([r["l1"] for r in records[-3:]]) < 0.7 * records[0]["l1"]


def test_what_was_trained_is_causal_and_its_latents_have_unit_spread(trained):
    config, params, _ = trained
    clips = moving_squares()
    pixels = jnp.asarray(np.stack([next(clips) for _ in range(8)]) / 127.5 - 1, jnp.float32)
    encode = jax.jit(lambda pixels: functional.bind(WanVAE, config, params).encode(pixels))
    latents, changed = encode(pixels), encode(pixels.at[:, 1:].mul(-1))
    np.testing.assert_array_equal(changed[:, 0], latents[:, 0])
    assert np.abs(changed - latents)[:, 1:].max() > 1e-3
    # The statistics were taken over the same eight clips.
    np.testing.assert_allclose(latents.mean(axis=(0, 1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(latents.std(axis=(0, 1, 2, 3)), 1, atol=1e-3)


def test_the_saved_component_is_what_was_trained(trained):
    config, params, workdir = trained
    component = folder.load(workdir / "model", "vae")
    assert component.config == config
    jax.tree.map(np.testing.assert_array_equal, component.params, jax.device_get(params))


def test_the_start_treats_every_frame_alike():
    config = VAEConfig(**TINY, z_dim=3, res_blocks=1, latents_mean=(0.0,) * 3, latents_std=(1.0,) * 3)
    params = training.initialise(config, seed=0)
    image = jax.random.uniform(jax.random.key(1), (1, 1, 16, 16, 3), minval=-1, maxval=1)

    @jax.jit
    def reconstruct(pixels):
        vae = functional.bind(WanVAE, config, params)
        mean, log_variance = vae.encode_moments(pixels)
        return mean, log_variance, vae.decode_sample(jnp.repeat(mean[:, :1], mean.shape[1], axis=1))

    mean, log_variance, video = reconstruct(jnp.repeat(image, 5, axis=1))
    assert np.abs(mean).max() > 1e-2
    np.testing.assert_allclose(log_variance, -4, atol=1e-5)
    np.testing.assert_allclose(video, jnp.repeat(video[:, :1], 5, axis=1), atol=1e-5)


def test_phases_follow_their_shares():
    image, short, long = phases = VAEPhase(0.35, 1, 8), VAEPhase(0.35, 5, 2), VAEPhase(0.3, 17, 1)
    assert list(training.phase_of_steps(phases, 20)) == [image] * 7 + [short] * 7 + [long] * 6


def test_windows_come_from_the_clips_and_short_clips_are_passed_over(tmp_path):
    (tmp_path / "clips").mkdir()
    for name, frames, grey in (("long", 12, 200), ("short", 3, 40)):
        write_video(tmp_path / "clips" / f"{name}.mp4", np.full((frames, 48, 64, 3), grey, np.uint8))
    windows = cut_pixel_windows(tmp_path, size=32, frames=5, per_visit=2, seed=0)
    for _ in range(4):
        window = next(windows)
        assert window.shape == (5, 32, 32, 3)
        assert abs(int(window.mean()) - 200) <= 3
    with pytest.raises(InputError, match="no clip has 13 frames"):
        next(cut_pixel_windows(tmp_path, size=32, frames=13, per_visit=2, seed=0))
    with pytest.raises(InputError, match="actavatar prepare"):
        cut_pixel_windows(tmp_path / "clips", size=32, frames=5, per_visit=2, seed=0)
