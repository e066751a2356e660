"""Eight bits per weight: how near they come, which kernels take them, and folders that are read straight into them."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.weights import COMPONENTS, folder
from actavatar_jax.weights.quantized import Forms, check_forms, forms_of, quantize, quantize_kernel

MATRICES = {
    f"blocks/{layer}/kernel"
    for layer in (
        *(f"{attn}/{name}" for attn in ("self_attn", "cross_attn") for name in ("query", "key", "value", "out")),
        *("audio_attn/query", "audio_attn/key_value", "audio_attn/out", "ffn/up", "ffn/down"),
    )
}


@pytest.fixture(scope="module")
def kernel():
    """Two layers; channels of very different sizes, one of nothing but zeros."""
    drawn = np.random.default_rng(0).standard_normal((2, 64, 5)).astype(np.float32)
    return jnp.asarray(drawn * np.float32([1e-4, 1.0, 30.0, 0.0, 1e3]))


def test_int8_is_within_half_a_step_of_every_channel(kernel):
    got = quantize_kernel(kernel, "int8")
    assert got.values.dtype == jnp.int8 and got.scale.dtype == jnp.float32 and got.scale.shape == (2, 1, 5)
    np.testing.assert_allclose(got.scale, np.abs(kernel).max(axis=1, keepdims=True) / 127, rtol=1e-6)
    error = np.abs(np.asarray(got.values, np.float32) * got.scale - kernel)
    assert (error <= np.asarray(got.scale) * 0.5001).all()
    assert (np.abs(np.asarray(got.values, np.int32)).max(axis=1)[:, [0, 1, 2, 4]] == 127).all()


def test_fp8_keeps_four_significant_bits(kernel):
    got = quantize_kernel(kernel, "fp8")
    assert got.values.dtype == jnp.float8_e4m3fn
    values = np.asarray(got.values).astype(np.float32) * got.scale
    assert np.isfinite(values).all()
    normal = np.abs(kernel) > np.asarray(got.scale) * 2**-6  # below are the subnormal numbers of e4m3
    assert (np.abs(values - kernel) <= np.abs(kernel) * 2**-4)[normal].all()


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_a_channel_of_zeros_stays_one(kernel, form):
    got = quantize_kernel(kernel, form)
    assert not np.asarray(got.values).astype(np.float32)[..., 3].any() and not got.scale[..., 3].any()


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_a_folder_is_read_straight_into_eight_bits(diffusers_folder, form):
    whole = folder.load(diffusers_folder, "transformer")
    got = folder.load(diffusers_folder, "transformer", quantize=form)
    flat = functional.flatten(got.params)
    assert {name for name, leaf in flat.items() if isinstance(leaf, Quantized)} == MATRICES
    wanted = functional.flatten(quantize(whole.params, forms_of(COMPONENTS["transformer"][0], form)))
    for name, leaf in flat.items():
        jax.tree.map(np.testing.assert_array_equal, leaf, wanted[name])


@pytest.fixture(scope="module")
def velocity(tmp_path_factory):
    """velocity(form): of random weights at the size of the puppets, at three flow times."""
    path, config, rng = tmp_path_factory.mktemp("random"), PRESETS["puppets"].transformer, np.random.default_rng(1)

    def draw(name, leaf):
        spread = leaf.shape[-2] ** -0.5 if name.endswith("kernel") else 0.1
        return float(name.endswith("scale")) + spread * rng.standard_normal(leaf.shape, np.float32)

    leaves = functional.flatten(functional.abstract(ActAvatarDiT, config))
    params = functional.unflatten({name: draw(name, leaf) for name, leaf in leaves.items()})
    folder.save(path, "transformer", config, params)
    exact = folder.load(path, "transformer", dtype="float32")
    c, grid = exact.config, (4, 8, 8)
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((3, *grid, c.in_channels), np.float32)
    audio = rng.standard_normal((3, 4 * grid[0] - 3, c.audio.feature_layers, c.audio.feature_width), np.float32)
    text, ids = rng.standard_normal((3, c.text_len, c.text_dim), np.float32), np.zeros((3, c.text_len), np.int32)
    times = np.repeat(np.float32([[100], [500], [900]]), grid[0], axis=1)

    @jax.jit
    def compute(params, latents, times, *conditions):
        model = exact.network.bind(params)
        return model(latents, times, model.condition(*conditions, grid))

    def of(form=None):
        params = folder.load(path, "transformer", dtype="float32", quantize=form).params
        return np.asarray(compute(params, latents, times, text, ids, np.zeros((3, c.max_phases, 2), np.float32), audio))

    return of


@pytest.mark.slow
@pytest.mark.parametrize(("form", "limit"), [("int8", 0.008), ("fp8", 0.03)])
def test_a_model_hardly_changes(velocity, form, limit):
    got, wanted = velocity(form), velocity()
    error = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(got, wanted, strict=True)]
    assert min(error) > 0 and max(error) < limit


def test_no_more_than_one_leaf_is_whole_at_a_time(diffusers_folder, monkeypatch):
    """Every kernel is quantized before the next leaf is read."""
    events = []
    read, quantized = folder.names.arrays.assemble, folder.quantized.quantize_leaf
    monkeypatch.setattr(folder.names.arrays, "assemble", lambda *args: (events.append("read"), read(*args))[1])
    monkeypatch.setattr(
        folder.quantized, "quantize_leaf", lambda *args: (events.append("quantized"), quantized(*args))[1]
    )
    folder.load(diffusers_folder, "text_encoder", quantize="int8")
    assert events == ["read", "quantized"] * (len(events) // 2)


def test_the_text_encoder_keeps_its_embeddings_and_norms(diffusers_folder):
    part = folder.load(diffusers_folder, "text_encoder", dtype="bfloat16", quantize="int8")
    kinds = {name: type(leaf) for name, leaf in functional.flatten(part.params).items()}
    assert {name for name, kind in kinds.items() if kind is Quantized} == {
        f"layers/{name}/kernel"
        for name in (
            *("self_attn/query", "self_attn/key", "self_attn/value", "self_attn/out"),
            *("ffn/gate", "ffn/up", "ffn/down"),
        )
    }
    ids = np.ones((1, 6), np.int32), np.ones((1, 6), bool)
    exact = folder.load(diffusers_folder, "text_encoder", dtype="float32")
    got, wanted = (np.asarray(jax.jit(p.network.bind(p.params))(*ids), np.float32) for p in (part, exact))
    assert 0 < np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < 0.05


def test_rules_choose_the_form_of_each_kernel(diffusers_folder):
    forms = Forms(((r"blocks/ffn/.*/kernel", "fp8"), (r"blocks/self_attn/query/kernel", "int8"), (r".*", None)))
    flat = functional.flatten(folder.load(diffusers_folder, "transformer", quantize=forms).params)
    found = {name: leaf.values.dtype for name, leaf in flat.items() if isinstance(leaf, Quantized)}
    fp8 = np.dtype(ml_dtypes.float8_e4m3fn)
    assert found == {
        "blocks/ffn/up/kernel": fp8,
        "blocks/ffn/down/kernel": fp8,
        "blocks/self_attn/query/kernel": np.int8,
    }


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (((r".*/kernel", "int4"),), 'there is no form "int4" (accepted are int8 and fp8)'),
        (((r"blocks/fnn/.*", "int8"),), 'rule "blocks/fnn/.*" decides about no parameter'),
        (
            ((r"blocks/self_attn/norm_key/.*", "int8"),),
            "blocks/self_attn/norm_key/scale is no kernel of a linear layer",
        ),
        (((r"phase_embedding/.*", "fp8"),), "phase_embedding/embedding is no kernel of a linear layer"),
    ],
)
def test_rules_that_do_not_fit_are_one_sentence(rules, problem):
    preset = PRESETS["tiny"].transformer
    params = functional.abstract(COMPONENTS["transformer"][0].module, preset)
    with pytest.raises(InputError) as error:
        check_forms(params, Forms(rules))
    assert problem in str(error.value)


def test_parts_that_take_no_quantization_say_so(diffusers_folder):
    with pytest.raises(InputError, match="WanVAE is not quantized; accepted are transformer and text_encoder"):
        folder.load(diffusers_folder, "vae", quantize="int8")


def test_what_is_quantized_is_not_saved(diffusers_folder, tmp_path):
    part = folder.load(diffusers_folder, "transformer", quantize="int8")
    with pytest.raises(InputError, match="transformer is quantized"):
        folder.save(tmp_path, "transformer", part.config, part.params)
    assert not list(tmp_path.iterdir())
