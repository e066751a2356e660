"""`WanVAE` as the VAE of Wan2.1 against diffusers' `AutoencoderKLWan`: same random weights, same video, float32."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models.wan_vae import VAEConfig, Wan21VAEConfig, WanVAE
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import vae as tables
from tests.echomimic.small import relative_error

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

WAN21_VAE = Wan21VAEConfig()
CONFIG = Wan21VAEConfig(
    encoder_base=8,
    decoder_base=8,
    z_dim=4,
    latents_mean=(-0.5, -0.1, 0.2, 0.4),
    latents_std=(0.5, 0.8, 1.1, 1.4),
)
FRAMES, HEIGHT, WIDTH = 9, 32, 48
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def theirs():
    """diffusers' model, every parameter random, biases and gains included."""
    torch.manual_seed(0)
    model = diffusers.AutoencoderKLWan(base_dim=8, z_dim=4).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            spread = 0.2 if name.endswith("bias") else parameter[0].numel() ** -0.5
            torch.nn.init.normal_(parameter, std=spread)
    return model


@pytest.fixture(scope="module")
def params(theirs):
    state = names.Arrays({name: tensor.numpy() for name, tensor in theirs.state_dict().items()})
    return names.import_params(tables.diffusers(CONFIG), functional.abstract(WanVAE, CONFIG), state)


# Compiled without optimisation: these models are tiny, and compiling is all the time there is.
@functools.partial(jax.jit, static_argnames="methods", compiler_options={"xla_backend_optimization_level": 0})
def ours(params, x, *, methods):
    vae = functional.bind(WanVAE, CONFIG, params)
    return [getattr(vae, method)(x) for method in methods]


def to_torch(x):
    return torch.from_numpy(x).permute(0, 4, 1, 2, 3)


def from_torch(x):
    return x.permute(0, 2, 3, 4, 1).numpy()


@pytest.mark.slow
def test_encode(theirs, params):
    pixels = np.random.default_rng(0).uniform(-1, 1, (1, FRAMES, HEIGHT, WIDTH, 3)).astype(np.float32)
    with torch.no_grad():
        posterior = theirs.encode(to_torch(pixels)).latent_dist
    (mean, log_variance), whole, stream = ours(params, pixels, methods=("encode_moments", "encode", "encode_stream"))
    assert relative_error(mean, from_torch(posterior.mean)) <= TOLERANCE
    assert relative_error(log_variance, from_torch(posterior.logvar)) <= TOLERANCE
    normalised = (from_torch(posterior.mode()) - CONFIG.latents_mean) / CONFIG.latents_std
    assert relative_error(whole, normalised) <= TOLERANCE
    assert relative_error(stream, normalised) <= TOLERANCE


@pytest.mark.slow
def test_decode(theirs, params):
    shape = (1, (FRAMES - 1) // 4 + 1, HEIGHT // 8, WIDTH // 8, 4)
    latents = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    raw = latents * np.float32(CONFIG.latents_std) + np.float32(CONFIG.latents_mean)
    with torch.no_grad():
        video = from_torch(theirs.decode(to_torch(raw)).sample)
    assert video.shape == (1, FRAMES, HEIGHT, WIDTH, 3)
    assert np.mean(np.abs(video) < 1) > 0.5, "too much is clamped for this test to see differences"
    for form, got in zip(("whole", "stream"), ours(params, latents, methods=("decode", "decode_stream")), strict=True):
        assert relative_error(got, video) <= TOLERANCE, form


def test_full_size_is_the_published_model():
    abstract = functional.abstract(WanVAE, WAN21_VAE)
    assert functional.count(abstract) == 126_892_531
    leaves = functional.flatten(abstract)
    found = {}
    for layout in (tables.diffusers, tables.wan):
        names.check_coverage(layout(WAN21_VAE), abstract)
        found[layout] = {e.theirs: names.their_shape(e, leaves[e.ours].shape) for e in layout(WAN21_VAE)}
        assert len(found[layout]) == 194
        assert sum(map(math.prod, found[layout].values())) == 126_892_531
    with torch.device("meta"):
        model = diffusers.AutoencoderKLWan()
    assert found[tables.diffusers] == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert WAN21_VAE.latents_mean == tuple(model.config.latents_mean)
    assert WAN21_VAE.latents_std == tuple(model.config.latents_std)
    assert (WAN21_VAE.space_factor, WAN21_VAE.time_factor) == (8, 4)


def test_original_names_are_those_that_diffusers_converts():
    """Every tensor of `Wan2.1_VAE.pth`, told apart by a number."""
    convert = pytest.importorskip("diffusers.loaders.single_file_utils").convert_wan_vae_to_diffusers
    tags = {entry.theirs: torch.tensor(i) for i, entry in enumerate(tables.wan(WAN21_VAE))}
    want = {name: int(value) for name, value in convert(tags).items()}
    assert want == {entry.theirs: i for i, entry in enumerate(tables.diffusers(WAN21_VAE))}


def test_fingerprints_of_wan22_hold():
    """Shards name the config of the encoder that made them: a field more would refuse all of them."""
    fields = {field.name for field in dataclasses.fields(VAEConfig)}
    assert fields == {
        *("encoder_base", "decoder_base", "z_dim", "multipliers", "res_blocks", "temporal_down", "patch"),
        *("latents_mean", "latents_std"),
    }
