"""Parts that do not fit each other are told apart by their configs, before weights are read."""

import dataclasses
import json

import pytest
from safetensors.numpy import save_file

from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS, Wav2Vec2Config
from actavatar_jax.models.wav2vec2 import wav2vec2_large
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.weights import COMPONENTS, check_parts, kind_of


def write_configs(folder, preset, **changes):
    """A model folder that has no weights."""
    for name in COMPONENTS:
        config = changes.get(name, getattr(preset, name))
        kind = kind_of(name, config)
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(kind.to_json(config)))
        save_file({}, folder / name / f"{kind.stem}.safetensors")
    return folder


def test_the_full_size_parts_fit(tmp_path):
    check_parts(write_configs(tmp_path, PRESETS["wan22_ti2v_5b"]))


def test_a_larger_audio_encoder_beside_the_default_adapter_is_refused(tmp_path):
    folder = write_configs(tmp_path / "model", PRESETS["wan22_ti2v_5b"])
    other = write_configs(tmp_path / "other", PRESETS["wan22_ti2v_5b"], audio_encoder=wav2vec2_large())
    said = (
        f"The transformer of {folder} does not fit its other parts: it takes 768 speech features and the audio_encoder "
        f"of {other / 'audio_encoder'} has 1024; it takes 12 speech layers and the audio_encoder of "
        f"{other / 'audio_encoder'} has 24."
    )
    with pytest.raises(InputError) as error:
        ActAvatarPipeline.from_pretrained(folder, audio_encoder=other / "audio_encoder")
    assert str(error.value) == said


TINY = PRESETS["tiny"]


@pytest.mark.parametrize(
    ("part", "config", "said"),
    [
        ("vae", dataclasses.replace(TINY.vae, channels=7), "8 latent channels and the vae of .* has 7; .*way out"),
        ("text_encoder", dataclasses.replace(TINY.text_encoder, width=32), "64 text features .* has 32"),
        ("audio_encoder", Wav2Vec2Config(hidden=64, layers=3), "2 speech layers .* has 3"),
        ("transformer", dataclasses.replace(TINY.transformer, out_channels=16), "takes 16 latent channels, on its way"),
    ],
)
def test_every_pair_is_checked(part, config, said, tmp_path):
    write_configs(tmp_path, TINY)
    check_parts(tmp_path)
    with pytest.raises(InputError, match=said):
        check_parts(write_configs(tmp_path / "wrong", TINY, **{part: config}))
