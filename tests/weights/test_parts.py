"""Parts that do not fit each other are told apart by their configs, before weights are read."""

import dataclasses
import json
import shutil

import pytest
from safetensors.numpy import save_file

from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS, Wav2Vec2Config
from actavatar_jax.models.wan_vae.vae import VAEConfig
from actavatar_jax.models.wav2vec2 import wav2vec2_large
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.weights import COMPONENTS, check_loading, check_parts, folder, kind_of
from actavatar_jax.weights.parts import disagreements


def configs(preset, **changes):
    return {name: getattr(preset, name) for name in COMPONENTS} | changes


def write_configs(path, preset, **changes):
    """A model folder that has no weights."""
    for name, config in configs(preset, **changes).items():
        kind = kind_of(name, config)
        (path / name).mkdir(parents=True)
        (path / name / "config.json").write_text(json.dumps(kind.to_json(config)))
        save_file({}, path / name / f"{kind.stem}.safetensors")
    return path


@pytest.mark.parametrize("preset", PRESETS)
def test_the_parts_of_presets_fit(preset):
    assert list(disagreements(configs(PRESETS[preset]))) == []


def test_the_parts_of_the_shipped_model_fit():
    assert check_parts(SHIPPED)["vae"].places == (4, 4)


def test_a_larger_audio_encoder_beside_the_default_adapter_is_refused(tmp_path):
    model = write_configs(tmp_path / "model", PRESETS["wan22_ti2v_5b"])
    other = write_configs(tmp_path / "other", PRESETS["wan22_ti2v_5b"], audio_encoder=wav2vec2_large())
    said = (
        f"The parts of {model} with {other / 'audio_encoder'} do not fit each other: the transformer takes 768 speech "
        "features and the audio_encoder has 1024; the transformer takes 12 speech layers and the audio_encoder has 24."
    )
    with pytest.raises(InputError) as error:
        ActAvatarPipeline.from_pretrained(model, audio_encoder=other / "audio_encoder")
    assert str(error.value) == said


TINY = PRESETS["tiny"]


@pytest.mark.parametrize(
    ("part", "config", "said"),
    [
        ("vae", dataclasses.replace(TINY.vae, channels=7), "8 latent channels and the vae has 7; .* way out"),
        ("vae", dataclasses.replace(TINY.vae, places=(3, 4)), r"patches of \[2, 2\] and the vae has \[3, 4\] places"),
        ("vae", VAEConfig(temporal_down=(False, False, True)), "stands for 4 frames and the vae makes one of 2"),
        ("text_encoder", dataclasses.replace(TINY.text_encoder, width=32), "64 text features .* has 32"),
        ("audio_encoder", Wav2Vec2Config(hidden=64, heads=4, layers=3), "2 speech layers .* has 3"),
        ("transformer", dataclasses.replace(TINY.transformer, out_channels=16), "takes 16 latent channels on its way"),
    ],
)
def test_every_pair_is_checked(part, config, said, tmp_path):
    with pytest.raises(InputError, match=said) as error:
        check_parts(write_configs(tmp_path / "wrong", TINY, **{part: config}))
    assert len(str(error.value)) <= 400


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    model = shutil.copytree(SHIPPED, tmp_path / "model")
    file = model / "tokenizer" / "tokenizer.json"
    values = json.loads(file.read_text())
    values["model"]["vocab"] += [[f"more{i}", -30.0] for i in range(500)]
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"tokenizer has 1\d\d\d tokens and the text_encoder takes 1024"):
        check_parts(model)
    shutil.rmtree(model / "tokenizer")
    with pytest.raises(InputError, match="tokenizer does not exist"):
        check_parts(model)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"dtype": "bf16"}, "The dtype is 'bf16'; accepted is float32, bfloat16"),
        ({"dtype": "float16"}, "accepted is float32, bfloat16"),
        ({"dtype": "int8"}, "accepted is float32, bfloat16"),
        ({"dtype": "float64"}, "accepted is float32, bfloat16"),
        ({"attention": "sdpa"}, "The attention is 'sdpa'; accepted is auto, xla, "),
        ({"quantize": "int4"}, "no form 'int4' of quantized weights; accepted are int8 and fp8"),
        ({"memory": "much"}, "The memory is 'much'; accepted is auto, or a size such as 24GB"),
    ],
)
def test_what_cannot_be_asked_for_is_told_before_anything_is_read(asked, said):
    with pytest.raises(InputError, match=said):
        check_loading(**asked)
    with pytest.raises(InputError, match=said):
        ActAvatarPipeline.from_pretrained("nowhere", **asked)
    if not {"memory", "quantize"} & asked.keys():
        with pytest.raises(InputError, match=said):
            folder.load("nowhere", "transformer", **asked)
    check_loading("bfloat16", "chunked", "int8", "24GB")
