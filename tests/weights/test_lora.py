"""LoRA files: what is added for every spelling, strength and place, what is written, and what is refused."""

import json
import os
import subprocess
import sys

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.weights import folder, lora
from actavatar_jax.weights.tables import dit

CONFIG = DiTConfig(
    width=16, heads=2, head_dim=8, ffn=24, layers=3, in_channels=4, out_channels=4, text_dim=12, text_len=8, freq_dim=8,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8),
)  # fmt: skip
RANK, ALPHA = 2, 6.0
RNG = np.random.default_rng(0)
DOWN, UP = (RNG.standard_normal(shape).astype(np.float32) for shape in ((RANK, 16), (24, RANK)))
WANTED = {"blocks/ffn/up/kernel": {1: (ALPHA / RANK * UP @ DOWN).T}}  # what is added to layer 1

DIFFUSERS = "transformer.blocks.1.ffn.net.0.proj"
ORIGINAL = "diffusion_model.blocks.1.ffn.0"
ALPHA_TENSOR = np.float32([ALPHA])  # some files have a vector of one number
SPELLINGS = {
    "diffusers": {f"{DIFFUSERS}.lora_A.weight": DOWN, f"{DIFFUSERS}.lora_B.weight": UP * ALPHA / RANK},
    "diffusers_alpha": {
        f"{DIFFUSERS}.lora_A.weight": DOWN, f"{DIFFUSERS}.lora_B.weight": UP, f"{DIFFUSERS}.alpha": np.float32(ALPHA),
    },
    "comfyui": {
        f"{ORIGINAL}.lora_down.weight": DOWN, f"{ORIGINAL}.lora_up.weight": UP, f"{ORIGINAL}.alpha": ALPHA_TENSOR,
    },
    "peft": {
        "base_model.model.blocks.1.ffn.net.0.proj.lora_A.default.weight": DOWN,
        "base_model.model.blocks.1.ffn.net.0.proj.lora_B.default.weight": UP * ALPHA / RANK,
    },
    "kohya": {
        "lora_unet_blocks_1_ffn_0.lora_down.weight": DOWN,
        "lora_unet_blocks_1_ffn_0.lora_up.weight": UP,
        "lora_unet_blocks_1_ffn_0.alpha": ALPHA_TENSOR,
    },
    "fun": {
        "lora_unet__blocks_1_ffn_0.lora_down.weight": DOWN,
        "lora_unet__blocks_1_ffn_0.lora_up.weight": UP,
        "lora_unet__blocks_1_ffn_0.alpha": np.float32(ALPHA),
    },
    "bare": {"blocks.1.ffn.0.lora_A.weight": DOWN, "blocks.1.ffn.0.lora_B.weight": UP * ALPHA / RANK},
    "difference": {f"{ORIGINAL}.diff": ALPHA / RANK * UP @ DOWN},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder of random weights, and those weights."""
    path = tmp_path_factory.mktemp("model")
    shapes = functional.abstract(ActAvatarDiT, CONFIG)
    params = jax.tree.map(lambda leaf: RNG.standard_normal(leaf.shape).astype(np.float32), shapes)
    folder.save(path, "transformer", CONFIG, params)
    return path, functional.flatten(params)


@pytest.fixture
def file(tmp_path):
    """Writes tensors, with metadata if wanted, and gives the path."""

    def write(tensors, metadata=None, name="style.safetensors"):
        save_file({key: np.array(value, order="C") for key, value in tensors.items()}, tmp_path / name, metadata)
        return tmp_path / name

    return write


def read(source):
    return lora.read([source], functional.abstract(ActAvatarDiT, CONFIG), [dit.diffusers(CONFIG), dit.wan(CONFIG)])


def added(model, *sources, **options):
    """{leaf: {layer or None: what loading with LoRA files adds to it}}."""
    path, before = model
    after = functional.flatten(folder.load(path, "transformer", loras=sources, **options).params)
    found = {}
    for name, leaf in after.items():
        difference = np.asarray(leaf, np.float32) - before[name]
        rows = enumerate(difference) if name.startswith("blocks/") else [(None, difference)]
        if changed := {row: value for row, value in rows if np.any(value)}:
            found[name] = changed
    return found


def check(found, wanted, **tolerance):
    assert {name: set(rows) for name, rows in found.items()} == {name: set(rows) for name, rows in wanted.items()}
    for name, rows in wanted.items():
        for row, value in rows.items():
            np.testing.assert_allclose(found[name][row], value, **tolerance or {"rtol": 1e-4, "atol": 1e-5})


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_adds_the_same(model, file, spelling):
    check(added(model, file(SPELLINGS[spelling])), WANTED)


def test_strengths_scale_and_files_add_up(model, file):
    first = file(SPELLINGS["comfyui"], name="first.safetensors")
    second = file(SPELLINGS["difference"], name="a:second.safetensors")  # colons are accepted in names
    found = added(model, f"{first}:0.5", f"{second}:-2", second)
    check(found, {"blocks/ffn/up/kernel": {1: -0.5 * WANTED["blocks/ffn/up/kernel"][1]}})


def test_biases_norms_and_layers_outside_the_blocks(model, file):
    bias, gain, time = (RNG.standard_normal(shape).astype(np.float32) for shape in ((24,), (16,), (16, RANK)))
    found = added(
        model,
        file(
            {
                f"{ORIGINAL}.diff_b": bias,
                "diffusion_model.blocks.2.norm3.diff": gain,
                "diffusion_model.time_embedding.2.lora_down.weight": time.T,
                "diffusion_model.time_embedding.2.lora_up.weight": time,
            }
        ),
    )
    check(
        found,
        {
            "blocks/ffn/up/bias": {1: bias},
            "blocks/cross_norm/scale": {2: gain},
            "time_embedding/linear_2/kernel": {None: (time @ time.T).T},
        },
    )


def test_alpha_of_a_header_or_of_a_file_beside_it(model, file, tmp_path):
    pair = {f"{DIFFUSERS}.lora_A.weight": DOWN, f"{DIFFUSERS}.lora_B.weight": UP}
    settings = {"transformer.r": RANK, "transformer.lora_alpha": ALPHA}
    check(added(model, file(pair, {"lora_adapter_metadata": json.dumps(settings)})), WANTED)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA, "use_dora": False}))
    check(added(model, file(pair)), WANTED)


def test_bfloat16_is_rounded_once(model, file):
    path, before = model
    flat = functional.flatten(
        folder.load(path, "transformer", dtype="bfloat16", loras=[file(SPELLINGS["comfyui"])]).params
    )
    leaf = flat["blocks/ffn/up/kernel"]
    assert leaf.dtype == ml_dtypes.bfloat16
    rounded = before["blocks/ffn/up/kernel"][1].astype(ml_dtypes.bfloat16).astype(np.float32)
    wanted = rounded + WANTED["blocks/ffn/up/kernel"][1]
    np.testing.assert_allclose(np.asarray(leaf[1], np.float32), wanted, rtol=2**-8, atol=1e-6)


def test_what_is_added_is_quantized_with_the_rest(model, file):
    path, before = model
    loras = [file(SPELLINGS["comfyui"])]
    leaf = functional.flatten(folder.load(path, "transformer", quantize="int8", loras=loras).params)[
        "blocks/ffn/up/kernel"
    ]
    assert isinstance(leaf, Quantized)
    wanted = before["blocks/ffn/up/kernel"][1] + WANTED["blocks/ffn/up/kernel"][1]
    got = np.asarray(leaf.values[1], np.float32) * leaf.scale[1]
    assert (np.abs(got - wanted) <= np.asarray(leaf.scale[1]) * 0.501).all()


PROGRAM = """
import functools, sys
import jax, numpy as np
from actavatar_jax import functional
from actavatar_jax.parallel.mesh import make_mesh
from actavatar_jax.parallel.rules import param_shardings
from actavatar_jax.weights import folder

model, file = sys.argv[1:]
cut = functools.partial(param_shardings, mesh=make_mesh("1,2,2"))
whole = functional.flatten(folder.load(model, "transformer", loras=[file]).params)
for name, leaf in functional.flatten(folder.load(model, "transformer", shardings=cut, loras=[file]).params).items():
    np.testing.assert_allclose(leaf, whole[name], rtol=1e-5, atol=1e-5)
    assert leaf.sharding == functional.flatten(cut(functional.unflatten(whole)))[name], name
alone, many = (
    folder.load(model, "transformer", shardings=shardings, quantize="int8").params["blocks"]["ffn"]["up"]["kernel"]
    for shardings in (None, cut)
)
np.testing.assert_array_equal(many.values, alone.values)
np.testing.assert_array_equal(many.scale, alone.scale)
assert {shard.data.shape for shard in many.values.addressable_shards} == {(3, 4, 24)} and many.scale.is_fully_replicated
"""


@pytest.mark.slow
def test_on_a_mesh_leaves_are_cut_as_ever(model, file):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, "-c", PROGRAM, str(model[0]), str(file(SPELLINGS["comfyui"]))]
    run = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def low_rank(rng, name, leaf):
    """The leaves that training adds to a kernel of the blocks, all random."""
    layers, inputs, outputs = leaf.shape
    shapes = {"lora_a": (layers, inputs, RANK), "lora_b": (layers, RANK, outputs), "lora_scale": (layers,)}
    return {name.replace("kernel", own): rng.standard_normal(shape).astype(np.float32) for own, shape in shapes.items()}


def test_what_training_writes_is_read_again(model, tmp_path):
    before, rng = model[1], np.random.default_rng(1)
    chosen = ("blocks/self_attn/query/kernel", "blocks/audio_attn/key_value/kernel", "blocks/ffn/down/kernel")
    flat = dict(before)
    for name in chosen:
        flat |= low_rank(rng, name, before[name])
    lora.write(tmp_path / "trained.safetensors", functional.unflatten(flat), CONFIG)
    written = load_file(tmp_path / "trained.safetensors")
    assert {name.partition(".lora_")[0] for name in written} == {
        f"transformer.blocks.{i}.{name}"
        for i in range(3)
        for name in ("attn1.to_q", "audio_cross_attn.kv_linear", "ffn.net.2")
    }
    assert written["transformer.blocks.0.ffn.net.2.lora_A.weight"].shape == (RANK, 24)
    wanted = {}
    for name in chosen:
        a, b, scale = (flat[name.replace("kernel", own)] for own in ("lora_a", "lora_b", "lora_scale"))
        wanted[name] = dict(enumerate(scale[:, None, None] * a @ b))
    check(added(model, tmp_path / "trained.safetensors"), wanted)


@pytest.mark.parametrize(
    ("tensors", "problem"),
    [
        ({}, "holds no tensors"),
        (
            {"transformer.blocks.3.attn1.to_q.lora_A.weight": DOWN, "text_encoder.layers.0.lora_A.weight": DOWN},
            "tensors not of this transformer, text_encoder.layers.0.lora_A.weight and 1 more",
        ),
        ({f"{ORIGINAL}.dora_scale": UP}, "tensors not of this transformer, diffusion_model.blocks.1.ffn.0.dora_scale"),
        ({"patch_embedding.lora_A.weight": DOWN}, "tensors not of this transformer, patch_embedding.lora_A.weight"),
        ({f"{ORIGINAL}.lora_down.weight": DOWN}, "without the other matrix of their pair"),
        ({f"{ORIGINAL}.alpha": ALPHA_TENSOR}, "without the other matrix of their pair"),
        (
            {f"{ORIGINAL}.lora_down.weight": UP, f"{ORIGINAL}.lora_up.weight": DOWN},
            f"tensors of other shapes than this transformer's, {ORIGINAL}.lora_down.weight",
        ),
        ({f"{ORIGINAL}.diff_b": UP}, "tensors of other shapes than this transformer's"),
        (
            {f"{ORIGINAL}.lora_down.weight": DOWN[:0], f"{ORIGINAL}.lora_up.weight": UP[:, :0]},  # of rank 0
            "tensors of other shapes than this transformer's",
        ),
        ({f"{ORIGINAL}.diff_b": np.arange(24)}, f"tensors of whole numbers, {ORIGINAL}.diff_b"),
    ],
)
def test_what_does_not_fit_is_one_sentence(file, tensors, problem):
    with pytest.raises(InputError) as error:
        read(file(tensors))
    assert problem in str(error.value) and "style.safetensors" in str(error.value)


def test_other_kinds_and_missing_files_are_one_sentence(file, tmp_path):
    with pytest.raises(InputError, match="missing"):
        read(tmp_path / "none.safetensors:0.5")
    source = file(SPELLINGS["diffusers"], {"lora_adapter_metadata": json.dumps({"transformer.use_rslora": True})})
    with pytest.raises(InputError, match="use_rslora"):
        read(source)
    for notes in ("no json", "[]", '{"a": 1, "a": 2}', '{"lora_alpha": "6"}', '{"lora_alpha": 1e999}'):
        with pytest.raises(InputError, match=r"style\.safetensors") as error:
            read(file(SPELLINGS["diffusers"], {"lora_adapter_metadata": notes}))
        assert len(str(error.value)) <= 400
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="is a Git LFS pointer"):
        read(tmp_path / "pointer.safetensors")
