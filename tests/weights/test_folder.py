"""Model folders: what diffusers wrote, we load; what we write, diffusers loads."""

import dataclasses
import json
import logging
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution, PatchCodec, PatchCodecConfig, Wav2Vec2
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.weights import components, folder, names, writer
from actavatar_jax.weights.tables import dit, patch_codec

COMPONENTS = ("transformer", "vae", "text_encoder", "audio_encoder")


def theirs(path, stem="diffusion_pytorch_model"):
    source = components.open_tensors(path, stem)
    return {name: source.read(name) for name in source.names()}


def random_params(module, config, dtype=np.float32):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(dtype), functional.abstract(module, config))


def equal(a, b):
    a, b = functional.flatten(a), functional.flatten(b)
    assert a.keys() == b.keys()
    for name in a:
        assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape), name
        assert np.asarray(a[name]).tobytes() == np.asarray(b[name]).tobytes(), name


@pytest.fixture
def copy(diffusers_folder, tmp_path):
    return shutil.copytree(diffusers_folder, tmp_path / "copy")


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_loads(diffusers_folder, component):
    part = folder.load(diffusers_folder, component)
    functional.bind(part.module, part.config, part.params)
    kind = components.kind_of(component, part.config)
    exported = dict(names.export_params(kind.table(part.config), part.params))
    for name, value in theirs(diffusers_folder / component, kind.stem).items():
        if name := kind.canonical(name):
            assert value.dtype == exported[name].dtype and value.tobytes() == exported[name].tobytes()


def test_plain_backbone_starts_at_the_identity(diffusers_folder, caplog):
    caplog.set_level(logging.INFO, "actavatar_jax")
    part = folder.load(diffusers_folder, "transformer")
    assert [record.getMessage() for record in caplog.records] == [
        f"{diffusers_folder} has no audio_projection, blocks/audio_attn, blocks/audio_norm, phase_embedding for its "
        "transformer: initial values"
    ]
    flat = functional.flatten(part.params)
    assert not flat["blocks/audio_attn/out/kernel"].any() and not flat["phase_embedding/embedding"].any()
    assert (flat["blocks/audio_norm/scale"] == 1).all() and not flat["audio_projection/rest/bias"].any()
    query, limit = flat["blocks/audio_attn/query/kernel"], (6 / (32 + 32)) ** 0.5  # Xavier-uniform
    assert 0.95 * limit < abs(query).max() <= limit and abs(query.std() * 3**0.5 / limit - 1) < 0.05
    assert not np.array_equal(query[0], query[1])


def test_dtype_and_execution_settings(diffusers_folder):
    part = folder.load(diffusers_folder, "transformer", dtype="bfloat16", attention="chunked", remat="full")
    kept = {name for name, leaf in functional.flatten(part.params).items() if leaf.dtype == np.float32}
    assert kept == {
        *(f"{part}/{leaf}" for part in ("time_projection", "head/out") for leaf in ("kernel", "bias")),
        *(f"time_embedding/linear_{i}/{leaf}" for i in (1, 2) for leaf in ("kernel", "bias")),
        *(f"blocks/{norm}/{leaf}" for norm in ("cross_norm", "audio_norm") for leaf in ("scale", "bias")),
        *("blocks/modulation", "head/modulation", "phase_embedding/embedding"),
        *("audio_projection/norm/scale", "audio_projection/norm/bias"),
    }
    assert part.execution == Execution("bfloat16", attention="chunked", remat="full")
    text = folder.load(diffusers_folder, "text_encoder")  # stored in bfloat16
    assert all(leaf.dtype == ml_dtypes.bfloat16 for leaf in jax.tree.leaves(text.params))
    assert text.execution.dtype == "float32"


@pytest.mark.parametrize("limit", [writer.MAX_SHARD_BYTES, 50_000])
def test_save_and_load_is_bitwise(diffusers_folder, tmp_path, limit):
    for component in COMPONENTS:
        part = folder.load(diffusers_folder, component)
        folder.save(tmp_path, component, part.config, part.params, max_shard_bytes=limit)
        again = folder.load(tmp_path, component)
        assert again.config == part.config and again.module is part.module
        equal(again.params, part.params)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(COMPONENTS)
    shards = len(list((tmp_path / "transformer").glob("*.safetensors")))
    assert shards == 1 if limit == writer.MAX_SHARD_BYTES else shards > 1


def test_diffusers_loads_our_transformer(diffusers_folder, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    part = folder.load(diffusers_folder, "transformer")
    params = random_params(ActAvatarDiT, part.config)
    folder.save(tmp_path, "transformer", part.config, params, max_shard_bytes=50_000)
    model = diffusers.WanTransformer3DModel.from_pretrained(tmp_path / "transformer")
    exported = dict(names.export_params(dit.diffusers(part.config), params))
    state = model.state_dict()
    assert len(state) < len(exported)
    for name, value in state.items():
        np.testing.assert_array_equal(value.numpy(), exported[name])


def test_diffusers_pipeline_opens_our_folder(diffusers_folder, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    for component in COMPONENTS:
        part = folder.load(diffusers_folder, component)
        folder.save(tmp_path, component, part.config, part.params)
    shutil.copytree(diffusers_folder / "tokenizer", tmp_path / "tokenizer")
    folder.save_index(tmp_path, folder.Defaults(25, 4096, "blur", Sampling(shift=3.0)))
    pipe = diffusers.WanImageToVideoPipeline.from_pretrained(tmp_path)
    assert pipe.config.expand_timesteps and pipe.config.boundary_ratio is None and pipe.transformer_2 is None
    assert type(pipe.scheduler).__name__ == "UniPCMultistepScheduler"
    assert (pipe.scheduler.config.flow_shift, pipe.scheduler.config.prediction_type) == (3.0, "flow_prediction")
    text = theirs(diffusers_folder / "text_encoder", "model")["shared.weight"].astype(np.float32)
    np.testing.assert_array_equal(pipe.text_encoder.get_input_embeddings().weight.detach().float().numpy(), text)
    assert pipe.text_encoder.encoder.embed_tokens.weight.abs().min() > 0  # transformers can lose the tied copy
    assert folder.load_defaults(tmp_path) == folder.Defaults(25, 4096, "blur", Sampling(shift=3.0))


def test_folder_without_defaults(diffusers_folder):
    assert folder.load_defaults(diffusers_folder) == folder.Defaults(125, 704 * 1280, folder.WAN_NEGATIVE_PROMPT)


DEFAULTS = folder.Defaults(
    num_frames=25,
    area=64 * 64,
    negative_prompt="blur",
    sampling=Sampling(steps=1, solver="mean", text_guidance=1.0, height=64, width=96, seed=7),
    sizes=((64, 96), (96, 64)),
    lengths=(25, 49),
    velocity_path=((0.999, 0.0), (0.5, 0.25)),
    strangest_portrait=26.5,
    world={"side": 64, "idle": "told", "places": [1, [2, None]]},
)


def test_what_a_folder_says_comes_back(tmp_path):
    folder.save_index(tmp_path, DEFAULTS)
    assert folder.load_defaults(tmp_path) == DEFAULTS
    fresh = {field.name: field.default for field in dataclasses.fields(folder.Defaults)}
    assert all(getattr(DEFAULTS, name) != value for name, value in fresh.items())  # none was left out here


def test_an_old_folder_samples_as_plain_wan(tmp_path):
    """As the first folders were written, and one by a later version with keys that are not known yet."""
    for more in ({}, {"later": 1}):
        index = {"actavatar": {"num_frames": 77, "area": 4096, "negative_prompt": ""} | more}
        (tmp_path / "model_index.json").write_text(json.dumps(index))
        assert folder.load_defaults(tmp_path) == folder.Defaults(77, 4096, "")
        assert folder.load_defaults(tmp_path).sampling == Sampling()


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([], r"its defaults is \[\]; accepted is an object"),
        ({"num_frames": 26}, "25 or 29"),
        ({"num_frames": 1}, "5, 9, "),
        ({"num_frames": 25.5}, "num_frames is 25.5; accepted is a whole number"),
        ({"num_frames": None}, "num_frames is None"),
        ({"area": 0}, "1 pixel or more"),
        ({"area": True}, "area is True"),
        ({"negative_prompt": 1}, "negative_prompt is 1; accepted is text"),
        ({"sampling": [40]}, r"sampling is \[40\]; accepted is an object"),
        ({"sampling": {"steps": "40"}}, "steps is '40'; accepted is a whole number"),
        ({"sampling": {"solver": "heun"}}, "no solver 'heun'"),
        ({"sampling": {"solver": "mean"}}, "1 step, not 40"),
        ({"sampling": {"pace": 1}}, "no sampling option pace"),
        ({"sizes": 64}, "sizes is 64; accepted is a list"),
        ({"sizes": [64, 64]}, "sizes is 64; accepted is a list of 2"),
        ({"sizes": [[64, 64, 3]]}, "accepted is a list of 2"),
        ({"sizes": [[64, -64]]}, "1 pixel or more"),
        ({"lengths": [25, "49"]}, "lengths is '49'; accepted is a whole number"),
        ({"lengths": [26]}, "25 or 29"),
        ({"strangest_portrait": "26 dB"}, "strangest_portrait is '26 dB'; accepted is a number"),
        ({"strangest_portrait": -1}, "a number above 0"),
        ({"world": "puppets"}, "world is 'puppets'; accepted is an object"),
    ],
)
def test_a_folder_that_says_what_cannot_be(tmp_path, stored, words):
    (tmp_path / "model_index.json").write_text(json.dumps({"actavatar": stored}))
    with pytest.raises(InputError, match=rf"model_index.json cannot be used: .*{words}"):
        folder.load_defaults(tmp_path)


def test_part_of_the_adapter_is_an_error(diffusers_folder, tmp_path):
    part = folder.load(diffusers_folder, "transformer")
    tensors = dict(names.export_params(dit.diffusers(part.config), part.params))
    path = tmp_path / "transformer"
    folder.save(tmp_path, "transformer", part.config, part.params)
    safetensors = pytest.importorskip("safetensors.numpy")
    del tensors["blocks.1.audio_cross_attn.proj.bias"], tensors["phase_embedding.weight"]
    safetensors.save_file(tensors, path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(InputError) as error:
        folder.load(tmp_path, "transformer")
    assert str(error.value).startswith(f"2 tensors do not fit the transformer of {tmp_path}: ")
    assert "missing phase_embedding.weight and 1 more" in str(error.value)


def test_unused_embedding_of_the_audio_encoder_may_be_absent(copy):
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = theirs(copy / "audio_encoder", "model")
    del tensors["masked_spec_embed"]
    safetensors.save_file(tensors, copy / "audio_encoder" / "model.safetensors")
    part = folder.load(copy, "audio_encoder")
    functional.bind(Wav2Vec2, part.config, part.params)
    stored = theirs(copy / "audio_encoder", "model")
    assert "masked_spec_embed" not in stored and "masked_spec_embed" in part.params
    np.testing.assert_array_equal(part.params["projection"]["kernel"], stored["feature_projection.projection.weight"].T)


def test_old_torch_file_of_the_audio_encoder(copy):
    torch = pytest.importorskip("torch")
    want = folder.load(copy, "audio_encoder").params
    file = copy / "audio_encoder" / "model.safetensors"
    torch.save(
        {f"wav2vec2.{name}": torch.from_numpy(value) for name, value in theirs(file.parent, "model").items()},
        file.with_name("pytorch_model.bin"),
    )
    file.unlink()
    equal(folder.load(copy, "audio_encoder").params, want)


def test_patch_codec(tmp_path):
    config = PatchCodecConfig(channels=5)
    params = random_params(PatchCodec, config)
    folder.save(tmp_path, "vae", config, params)
    stored = {"_class_name": "PatchCodec", "channels": 5, "places": [1, 1], "differences": False}
    stored |= {"patch": 16, "reduce": 1, "decoder": None}
    assert json.loads((tmp_path / "vae" / "config.json").read_text()) == stored
    assert set(theirs(tmp_path / "vae")) == {f"{part}.{name}" for part in params for name in params[part]}
    part = folder.load(tmp_path, "vae", dtype="bfloat16")
    assert (part.module, part.config) == (PatchCodec, config)
    equal(folder.load(tmp_path, "vae").params, params)
    folder.save_index(tmp_path)
    assert json.loads((tmp_path / "model_index.json").read_text())["vae"] == ["actavatar_jax", "PatchCodec"]


DECODER = {"widths": [4, 6], "warps": 1, "shuffle": 2, "found": 3, "fixed": 1}


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"channels": None}, "channels is None; accepted is a whole number"),
        ({"patch": 0}, "patch is 0; accepted is a whole number from 1 to"),
        ({"reduce": "two"}, "reduce is 'two'; accepted is a whole number"),
        ({"places": [4]}, r"places is \[4\]; accepted is a list of 2"),
        ({"differences": 1}, "differences is 1; accepted is true or false"),
        ({"decoder": DECODER | {"widths": [4, "6"]}}, "widths is '6'"),
        ({"decoder": DECODER | {"shuffle": 3}}, "shuffle is 3; accepted is 2 or 4"),
        ({"decoder": {"widths": [4, 6], "warps": 1, "shuffle": 2}}, "lacks fixed and 1 more"),
        ({"decoder": [4, 6]}, r"decoder is \[4, 6\]; accepted is an object"),
        ({"decoders": None}, "not known here: decoders"),
    ],
)
def test_wrong_configs_of_a_patch_codec(wrong, problem):
    values = {"channels": 5, "places": [1, 1], "differences": True} | wrong
    with pytest.raises(InputError, match=problem):
        patch_codec.from_json(values)


def test_saving_again_replaces_all_files(tmp_path):
    config = PatchCodecConfig(channels=5)
    folder.save(tmp_path, "vae", config, random_params(PatchCodec, config), max_shard_bytes=1000)
    params = random_params(PatchCodec, config, np.float16)
    folder.save(tmp_path, "vae", config, params)
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    equal(folder.load(tmp_path, "vae").params, params)


def test_params_of_another_config_are_refused(tmp_path):
    params = random_params(PatchCodec, PatchCodecConfig(channels=5))
    with pytest.raises(ValueError, match="parameters and config disagree"):
        folder.save(tmp_path, "vae", PatchCodecConfig(channels=6), params)
    with pytest.raises(TypeError, match="DiTConfig is no config of a vae"):
        folder.save(tmp_path, "vae", DiTConfig(), params)
    assert list(tmp_path.iterdir()) == []


def test_wrong_folders(copy, tmp_path):
    with pytest.raises(InputError, match="There is no model folder"):
        folder.load(tmp_path / "nowhere", "transformer")
    (tmp_path / "empty").mkdir()
    for component in COMPONENTS:
        with pytest.raises(InputError, match=f"holds no {component}: expected {component}/config.json"):
            folder.load(tmp_path / "empty", component)
    for content, problem in (
        ("{", "is no JSON file"),
        ("[]", "expected an object"),
        ("{}", "describes? another|describe"),
    ):
        (copy / "vae" / "config.json").write_text(content)
        with pytest.raises(InputError, match=problem):
            folder.load(copy, "vae")
    (copy / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"text_encoder/model\.safetensors is missing"):
        folder.load(copy, "text_encoder")
