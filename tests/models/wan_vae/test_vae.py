"""`WanVAE` on its own: causality, streaming, refusals, config file."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.weights.tables import vae as tables

CONFIG = VAEConfig(
    encoder_base=4,
    decoder_base=4,
    z_dim=3,
    multipliers=(1, 2, 2),
    temporal_down=(True, True),
    res_blocks=1,
    latents_mean=(0.0,) * 3,
    latents_std=(1.0,) * 3,
)
FRAMES, LATENT_FRAMES = 13, 4


@pytest.fixture(scope="module")
def params():
    """Random weights in which no bias is zero and no gain is one."""
    rng = np.random.default_rng(0)

    def draw(leaf):
        spread = 0.3 if len(leaf.shape) == 1 else math.prod(leaf.shape[:-1]) ** -0.5
        return rng.normal(size=leaf.shape, scale=spread).astype(np.float32) + (len(leaf.shape) == 1)

    return jax.tree.map(draw, functional.abstract(WanVAE, CONFIG))


# Compiled without optimisation: these models are tiny, and compiling is all the time there is.
quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@functools.partial(quickly, static_argnames="method")
def run(params, x, method):
    return getattr(functional.bind(WanVAE, CONFIG, params), method)(x)


@functools.partial(quickly, static_argnames=("method", "start", "stop"))
def input_gradient(params, x, method, start, stop):
    """Size of the gradient of output frames start..stop - 1 with respect to each input frame."""
    weights = jax.random.normal(jax.random.key(7), (64,))

    def total(x):
        out = getattr(functional.bind(WanVAE, CONFIG, params), method)(x)[:, start:stop]
        return jnp.sum(out * jnp.resize(weights, out.shape))

    return jnp.abs(jax.grad(total)(x)).max(axis=(0, 2, 3, 4))


def video(frames=FRAMES):
    return jax.random.uniform(jax.random.key(2), (1, frames, 8, 16, 3), minval=-1, maxval=1)


def latents(frames=LATENT_FRAMES):
    return jax.random.normal(jax.random.key(3), (1, frames, 1, 2, CONFIG.z_dim))


def close(got, want):
    return np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize(("frame", "latent_frame"), [(1, 1), (4, 1), (5, 2), (12, 3)])
def test_a_pixel_frame_changes_no_latent_before_its_own(params, frame, latent_frame):
    before = run(params, video(), "encode")
    after = run(params, video().at[:, frame].mul(-0.5), "encode")
    np.testing.assert_array_equal(after[:, :latent_frame], before[:, :latent_frame])
    assert np.abs(after - before)[:, latent_frame].max() > 1e-4


@pytest.mark.parametrize("latent_frame", [1, 2, 3])
def test_a_latent_frame_changes_no_pixel_before_its_own(params, latent_frame):
    first = 4 * (latent_frame - 1) + 1
    before = run(params, latents(), "decode_sample")
    after = run(params, latents().at[:, latent_frame].mul(-0.5), "decode_sample")
    np.testing.assert_array_equal(after[:, :first], before[:, :first])
    assert np.abs(after - before)[:, first : first + 4].max() > 1e-4


@pytest.mark.slow
def test_gradients_are_exactly_zero_into_the_future(params):
    into_pixels = input_gradient(params, video(), "encode", 1, 2)
    assert np.all(into_pixels[:5] > 0)
    assert np.all(into_pixels[5:] == 0)
    into_latents = input_gradient(params, latents(), "decode_sample", 1, 5)
    assert np.all(into_latents[:2] > 0)
    assert np.all(into_latents[2:] == 0)


@pytest.mark.parametrize("frames", [1, 5])
def test_a_prefix_encodes_to_a_prefix_and_decodes_to_a_prefix(params, frames):
    latent_frames = 1 + frames // 4
    assert close(run(params, video()[:, :frames], "encode"), run(params, video(), "encode")[:, :latent_frames])
    whole = run(params, latents(), "decode_sample")
    assert whole.shape == (1, FRAMES, 8, 16, 3)
    assert close(run(params, latents()[:, :latent_frames], "decode_sample"), whole[:, :frames])


@pytest.mark.slow
@pytest.mark.parametrize("latent_frames", [1, LATENT_FRAMES])
def test_streaming_equals_the_whole_sequence(params, latent_frames):
    pixels = video()[:, : 4 * latent_frames - 3]
    assert close(run(params, pixels, "encode_stream"), run(params, pixels, "encode"))
    latent = latents()[:, :latent_frames]
    assert close(run(params, latent, "decode_stream"), run(params, latent, "decode_sample").clip(-1, 1))


@pytest.mark.slow
def test_streaming_memory_does_not_grow_with_the_video(params):
    def memory(frames):
        return run.lower(params, latents(frames), "decode_stream").compile().memory_analysis()

    short, long = memory(5), memory(33)
    growth_of_ends = latents(33).nbytes - latents(5).nbytes + long.output_size_in_bytes - short.output_size_in_bytes
    # Input and output are copied into and out of the scan's layout; nothing else may grow.
    assert long.temp_size_in_bytes - short.temp_size_in_bytes <= 2 * growth_of_ends


def test_wrong_lengths_and_sides_are_refused(params):
    vae = functional.bind(WanVAE, CONFIG, params)
    for method in (vae.encode, vae.encode_stream, vae.encode_moments):
        with pytest.raises(InputError, match=r"4k \+ 1 frames, got 4"):
            method(jnp.zeros((1, 4, 8, 8, 3)))
        with pytest.raises(InputError, match="multiples of 8, got 8x12"):
            method(jnp.zeros((1, 5, 8, 12, 3)))
    with pytest.raises(InputError, match="48 latent means"):
        VAEConfig(latents_mean=(0.0,))
    with pytest.raises(InputError, match="3 entries in temporal_down"):
        VAEConfig(temporal_down=(True,))
    with pytest.raises(InputError, match="last two multipliers"):
        VAEConfig(multipliers=(1, 2, 2, 4))


def test_config_file_round_trip_and_refusals():
    assert tables.from_json(tables.to_json(CONFIG)) == CONFIG
    published = tables.to_json(VAEConfig())
    assert published["z_dim"] == 48
    assert round(sum(published["latents_mean"]), 4) == -0.5589
    assert round(sum(published["latents_std"]), 4) == 32.5360
    with pytest.raises(InputError, match=r"a Wan2\.2 VAE"):
        tables.from_json({**published, "is_residual": False})
    with pytest.raises(InputError, match="lacks dim_mult"):
        tables.from_json({k: v for k, v in published.items() if k != "dim_mult"})
