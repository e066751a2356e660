"""The transformer's name table against diffusers' own names, shapes and renaming, at full size without allocating."""

import dataclasses
import json
import math
import re

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar import ActAvatarDiT, AudioAdapterConfig, DiTConfig
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import dit

SMALL = DiTConfig(
    width=32,
    heads=2,
    head_dim=16,
    ffn=40,
    layers=3,
    in_channels=8,
    out_channels=6,
    text_dim=12,
    text_len=20,
    freq_dim=8,
    audio=AudioAdapterConfig(feature_layers=2, feature_width=6, hidden=10, tokens=4, token_width=14, gamma=0.5),
    max_phases=5,
)


def shapes(table, config):
    """{their name: shape} of a table."""
    leaves = functional.flatten(functional.abstract(ActAvatarDiT, config))
    return {entry.theirs: names.their_shape(entry, leaves[entry.ours].shape) for entry in table}


def backbone(table):
    return tuple(entry for entry in table if not re.fullmatch(dit.ADDED, entry.ours))


@pytest.mark.parametrize("layout", [dit.diffusers, dit.wan])
def test_full_size_backbone(layout):
    table = layout(DiTConfig())
    names.check_coverage(table, functional.abstract(ActAvatarDiT, DiTConfig()))
    sizes = shapes(backbone(table), DiTConfig())
    assert len(sizes) == 825
    assert sum(math.prod(shape) for shape in sizes.values()) == 4_999_787_712


def test_backbone_is_diffusers_model():
    torch, diffusers = pytest.importorskip("torch"), pytest.importorskip("diffusers")
    with torch.device("meta"):
        model = diffusers.WanTransformer3DModel.from_config(dit.to_json(DiTConfig()))
    want = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes(backbone(dit.diffusers(DiTConfig())), DiTConfig()) == want


def test_wan_names_are_those_that_diffusers_converts():
    torch = pytest.importorskip("torch")
    convert = pytest.importorskip("diffusers.loaders.single_file_utils").convert_wan_transformer_to_diffusers
    ours = functional.flatten(functional.abstract(ActAvatarDiT, SMALL))
    tags = {entry.theirs: torch.tensor(i) for i, entry in enumerate(backbone(dit.wan(SMALL)))}
    for value in tags.values():
        assert value.ndim == 0
    want = {name: int(value) for name, value in convert(dict(tags)).items()}
    assert want == {entry.theirs: i for i, entry in enumerate(backbone(dit.diffusers(SMALL)))}
    assert all(entry.ours in ours for entry in dit.wan(SMALL))


def test_our_tensors_have_multitalks_names():
    added = {e.theirs for e in dit.diffusers(SMALL)} - {e.theirs for e in backbone(dit.diffusers(SMALL))}
    assert added == {e.theirs for e in dit.wan(SMALL)} - {e.theirs for e in backbone(dit.wan(SMALL))}
    sizes = shapes(dit.diffusers(SMALL), SMALL)
    assert sizes["audio_proj.proj1.weight"] == (10, 5 * 2 * 6)
    assert sizes["audio_proj.proj1_vf.weight"] == (10, 8 * 2 * 6)
    assert sizes["audio_proj.proj2.weight"] == (10, 10)
    assert sizes["audio_proj.proj3.weight"] == (4 * 14, 10)
    assert sizes["audio_proj.norm.weight"] == (14,)
    assert sizes["blocks.2.norm_x.bias"] == (32,)
    assert sizes["blocks.2.audio_cross_attn.kv_linear.weight"] == (64, 14)
    assert sizes["phase_embedding.weight"] == (6, 12)
    assert len(added) == 1 + 10 + 3 * 8


@pytest.mark.parametrize("phase_time", ["paper", "paper+soft_relay", "paper+relay", "tie"])
@pytest.mark.parametrize("where", [False, True])
def test_options_have_tensors_only_where_they_are_on(phase_time, where):
    config = dataclasses.replace(SMALL, phase_time=phase_time, frame_time=where, place=where)
    for layout in (dit.diffusers, dit.wan):
        names.check_coverage(layout(config), functional.abstract(ActAvatarDiT, config))
        sizes = shapes(layout(config), config)
        assert (sizes.get("blocks.1.window_strength") == (1,)) == ("soft_relay" in phase_time)
        assert ("frame_time.weight" in sizes) == ("place.weight" in sizes) == where


@pytest.mark.parametrize("layout", [dit.diffusers, dit.wan])
def test_out_and_in_again_is_bitwise(layout):
    config = dataclasses.replace(SMALL, phase_time="paper+soft_relay", frame_time=True, place=True, linear_guess=True)
    rng = np.random.default_rng(0)
    abstract = functional.abstract(ActAvatarDiT, config)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), abstract)
    tensors = dict(names.export_params(layout(config), params))

    again = names.import_params(layout(config), abstract, names.Arrays(tensors))
    assert jax.tree.all(jax.tree.map(lambda a, b: a.tobytes() == b.tobytes(), params, again))
    # Row (channel 3, patch row 1, patch column 0) of the patch matrix.
    row = params["patch_embedding"]["kernel"][3 * 4 + 2]
    np.testing.assert_array_equal(tensors["patch_embedding.weight"][:, 3, 0, 1, 0], row)


@pytest.mark.parametrize(
    "config",
    [DiTConfig(), SMALL, dataclasses.replace(SMALL, phase_time="paper+relay", latent_rate=4.0, frame_time=True)],
    ids=["full", "small", "options"],
)
def test_config_files(config):
    for write, read in ((dit.to_json, dit.from_json), (dit.to_wan_json, dit.from_wan_json)):
        assert read(json.loads(json.dumps(write(config)))) == config


def test_plain_configs_give_our_defaults():
    diffusers = dit.to_json(DiTConfig())
    del diffusers["actavatar"]
    assert dit.from_json(diffusers | {"image_dim": 1280, "added_kv_proj_dim": 5120}) == DiTConfig()
    older = diffusers | {"actavatar": {"precondition": False}}  # which had nothing of what is new
    assert dit.from_json(older) == DiTConfig()
    released = {
        "model_type": "ti2v",
        "dim": 3072,
        "eps": 1e-6,
        "ffn_dim": 14336,
        "freq_dim": 256,
        "in_dim": 48,
        "num_heads": 24,
        "num_layers": 30,
        "out_dim": 48,
        "text_len": 512,
    }
    assert dit.from_wan_json(released) == DiTConfig()


def without(values, key):
    return {name: value for name, value in values.items() if name != key}


@pytest.mark.parametrize(
    ("read", "values", "problem"),
    [
        (dit.from_json, {"_class_name": "HunyuanVideo"}, "HunyuanVideo"),
        (dit.from_json, dit.to_json(SMALL) | {"qk_norm": None}, "qk_norm"),
        (dit.from_json, without(dit.to_json(SMALL), "ffn_dim"), "lacks ffn_dim"),
        (dit.from_json, dit.to_json(SMALL) | {"num_layers": 10**9}, "num_layers is 1000000000; .* from 1 to 1024"),
        (dit.from_json, dit.to_json(SMALL) | {"ffn_dim": -1}, "ffn_dim is -1; accepted is a whole number from 1"),
        (dit.from_json, dit.to_json(SMALL) | {"eps": "1e-6"}, "eps is '1e-6'; accepted is a number"),
        (dit.from_json, dit.to_json(SMALL) | {"patch_size": [2, 2, 2]}, r"patch_size is \(2, 2, 2\); accepted is 1,"),
        (dit.from_json, dit.to_json(SMALL) | {"attention_head_dim": 7}, "accepted is an even number"),
        (dit.from_json, dit.to_json(SMALL) | {"quantization_config": {}}, "not known here: quantization_config"),
        (dit.from_json, dit.to_json(SMALL) | {"actavatar": []}, r"actavatar is \[\]; accepted is an object"),
        (
            dit.from_json,
            dit.to_json(SMALL) | {"actavatar": {"phase_time": "evil"}},
            "paper or relay or soft_relay or tie",
        ),
        (dit.from_json, dit.to_json(SMALL) | {"actavatar": {"audio": {"tokens": 0}}}, "tokens is 0"),
        (dit.from_json, dit.to_json(SMALL) | {"actavatar": {"gama": 1}}, "under actavatar that are not known.*: gama"),
        (dit.from_json, dit.to_json(SMALL) | {"actavatar": {"audio": {"a": 1}}}, "under actavatar, audio, .*: a"),
        (dit.from_json, dit.to_json(SMALL) | {"actavatar": {"precondition": True}}, "older version.*train it again"),
        (dit.from_wan_json, dit.to_wan_json(SMALL) | {"model_type": "i2v"}, "type 'i2v'; accepted is ti2v"),
        (dit.from_wan_json, without(dit.to_wan_json(SMALL), "dim"), "lacks dim"),
        (dit.from_wan_json, dit.to_wan_json(SMALL) | {"dim": 33}, "no multiple of its num_heads"),
        (dit.to_json, dataclasses.replace(SMALL, width=48), "width must be heads x head_dim"),
    ],
)
def test_wrong_configs(read, values, problem):
    with pytest.raises(InputError, match=problem):
        read(values)
