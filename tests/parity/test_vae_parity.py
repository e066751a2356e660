"""`WanVAE` against diffusers' `AutoencoderKLWan`: same random weights, same video, float32."""

import functools

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import vae as tables

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

CONFIG = VAEConfig(
    encoder_base=8,
    decoder_base=12,
    z_dim=4,
    latents_mean=(-0.5, -0.1, 0.2, 0.4),
    latents_std=(0.5, 0.8, 1.1, 1.4),
)
HEIGHT, WIDTH = 32, 48
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def theirs():
    """diffusers' model, every parameter random, biases and gains included."""
    torch.manual_seed(0)
    model = diffusers.AutoencoderKLWan.from_config(tables.to_json(CONFIG)).eval()
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        else:
            spread = 0.2 if name.endswith("bias") else parameter[0].numel() ** -0.5
            torch.nn.init.normal_(parameter, std=spread)
    return model


@pytest.fixture(scope="module")
def state(theirs):
    return {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}


@pytest.fixture(scope="module")
def params(state):
    return names.import_params(tables.diffusers(CONFIG), functional.abstract(WanVAE, CONFIG), names.Arrays(state))


# Compiled without optimisation: these models are tiny, and compiling is all the time there is.
@functools.partial(jax.jit, static_argnames="methods", compiler_options={"xla_backend_optimization_level": 0})
def ours(params, x, *, methods):
    vae = functional.bind(WanVAE, CONFIG, params)
    return [getattr(vae, method)(x) for method in methods]


def relative_error(got, want):
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


def to_torch(x):
    return torch.from_numpy(x).permute(0, 4, 1, 2, 3)


def from_torch(x):
    return x.permute(0, 2, 3, 4, 1).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "forms"), [(1, ["encode"]), (5, ["encode"]), (13, ["encode"]), (17, ["encode", "encode_stream"])]
)
def test_encode(theirs, params, frames, forms):
    pixels = np.random.default_rng(frames).uniform(-1, 1, (1, frames, HEIGHT, WIDTH, 3)).astype(np.float32)
    with torch.no_grad():
        posterior = theirs.encode(to_torch(pixels)).latent_dist
    (mean, log_variance), *latents = ours(params, pixels, methods=("encode_moments", *forms))
    assert relative_error(mean, from_torch(posterior.mean)) <= TOLERANCE
    assert relative_error(log_variance, from_torch(posterior.logvar)) <= TOLERANCE
    normalised = (from_torch(posterior.mode()) - CONFIG.latents_mean) / CONFIG.latents_std
    for form, got in zip(forms, latents, strict=True):
        assert relative_error(got, normalised) <= TOLERANCE, form


@pytest.mark.slow
@pytest.mark.parametrize(("latent_frames", "forms"), [(1, ["decode"]), (5, ["decode", "decode_stream"])])
def test_decode(theirs, params, latent_frames, forms):
    shape = (1, latent_frames, HEIGHT // 16, WIDTH // 16, CONFIG.z_dim)
    latents = np.random.default_rng(latent_frames).normal(size=shape).astype(np.float32)
    raw = latents * np.float32(CONFIG.latents_std) + np.float32(CONFIG.latents_mean)
    with torch.no_grad():
        video = from_torch(theirs.decode(to_torch(raw)).sample)
    assert np.mean(np.abs(video) < 1) > 0.5, "too much is clamped for this test to see differences"
    assert np.any(np.abs(video) == 1), "nothing is clamped, so clamping is not tested"
    for form, got in zip(forms, ours(params, latents, methods=tuple(forms)), strict=True):
        assert relative_error(got, video) <= TOLERANCE, form


@pytest.mark.parametrize("layout", ["diffusers", "wan"])
def test_torch_to_ours_to_torch_is_bitwise_identity(state, params, layout):
    table = getattr(tables, layout)(CONFIG)
    written = dict(names.export_params(table, params))
    again = names.import_params(table, functional.abstract(WanVAE, CONFIG), names.Arrays(written))
    back = dict(names.export_params(tables.diffusers(CONFIG), again))
    assert set(back) == set(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        np.testing.assert_array_equal(back[name], tensor)


def test_tables_cover_the_full_size_model():
    config = VAEConfig()
    abstract = functional.abstract(WanVAE, config)
    assert functional.count(abstract) == 704_688_668
    assert functional.count(abstract["encoder"]) == 149_627_776
    assert functional.count(abstract["decoder"]) == 555_049_228
    shapes = {name: leaf.shape for name, leaf in functional.flatten(abstract).items()}
    found = {}
    for layout in ("diffusers", "wan"):
        table = getattr(tables, layout)(config)
        names.check_coverage(table, abstract)
        assert len(table) == 196
        found[layout] = {e.theirs: tuple(names.their_shape(e, shapes[e.ours])) for e in table}

    with torch.device("meta"):
        model = diffusers.AutoencoderKLWan.from_config(tables.to_json(config))
    assert found["diffusers"] == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

    # The original names have no package to compare with: one tensor of each kind, as its source spells them.
    original = {
        "conv1.weight": (96, 96, 1, 1, 1),
        "conv2.bias": (48,),
        "encoder.conv1.weight": (160, 12, 3, 3, 3),
        "encoder.downsamples.1.downsamples.0.residual.0.gamma": (160, 1, 1, 1),
        "encoder.downsamples.1.downsamples.0.residual.2.weight": (320, 160, 3, 3, 3),
        "encoder.downsamples.1.downsamples.0.residual.3.gamma": (320, 1, 1, 1),
        "encoder.downsamples.1.downsamples.0.residual.6.bias": (320,),
        "encoder.downsamples.1.downsamples.0.shortcut.weight": (320, 160, 1, 1, 1),
        "encoder.downsamples.0.downsamples.2.resample.1.weight": (160, 160, 3, 3),
        "encoder.downsamples.2.downsamples.2.time_conv.weight": (640, 640, 3, 1, 1),
        "encoder.middle.1.norm.gamma": (640, 1, 1),
        "encoder.middle.1.to_qkv.weight": (1920, 640, 1, 1),
        "encoder.head.0.gamma": (640, 1, 1, 1),
        "encoder.head.2.weight": (96, 640, 3, 3, 3),
        "decoder.middle.1.proj.weight": (1024, 1024, 1, 1),
        "decoder.middle.2.residual.6.weight": (1024, 1024, 3, 3, 3),
        "decoder.upsamples.1.upsamples.3.time_conv.weight": (2048, 1024, 3, 1, 1),
        "decoder.upsamples.2.upsamples.3.resample.1.bias": (512,),
        "decoder.upsamples.3.upsamples.2.residual.2.weight": (256, 256, 3, 3, 3),
        "decoder.head.2.weight": (12, 256, 3, 3, 3),
    }
    assert original.items() <= found["wan"].items()
