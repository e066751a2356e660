"""Trainings in every form of time in text: the shards they open, and the clock of what they make."""

import dataclasses
import json

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.prompt.forms import FORMS, has_anchors
from actavatar_jax.runs import training
from actavatar_jax.runs.opening import open_network
from configs import stage2
from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import LATENT_LAYOUT, SCHEMA_VERSION, Bucket, serialize_record, write_dataset

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder with the datasets `anchored` and `bare`, which fit the tiny model."""
    model, folder = open_network(stage2.get_config("runlocal")).config, tmp_path_factory.mktemp("shards")
    parts = {"audio_layers": model.audio.feature_layers, "audio_dim": model.audio.feature_width}
    source = SyntheticSource(Bucket(32, 64, 9), channels=model.in_channels, text_dim=model.text_dim, **parts)
    made_by = {"schema": SCHEMA_VERSION, "layout": LATENT_LAYOUT, "fps": 25, "encoders": {"vae": "ours"}}
    made_by |= {"empty_prompt": source.empty_prompt().to_dict(), "latent_shape": source[0]["latents"].shape}
    for name, anchors in (("anchored", True), ("bare", False)):
        (folder / name).mkdir()
        write_dataset(
            folder / name, map(serialize_record, (source[i] for i in range(4))), 4, 4, made_by | {"anchors": anchors}
        )
    return folder


def settings(form, data, heldout=()):
    config = stage2.get_config("runlocal")
    config.steps, config.model.phase_time = "2", form
    config.data.source, config.data.dirs = "shards", (str(data),)
    config.heldout.dirs = tuple(map(str, heldout))
    return config


@pytest.mark.parametrize("form", FORMS)
def test_a_training_opens_the_texts_that_its_form_reads(shards, tmp_path, form):
    fitting, other = ("anchored", "bare") if has_anchors(form) else ("bare", "anchored")
    config = settings(form, shards / fitting)
    batches, clips = training.open_data(config, open_network(config).config)
    assert clips == 4 and next(iter(batches))["text"].shape[0] == 4
    for wrong in (settings(form, shards / other), settings(form, shards / fitting, [shards / other])):
        with pytest.raises(InputError, match=rf"{other} do not fit, encode the clips again: their texts (are|have)"):
            training.run_training(wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_model_keeps_the_form_and_the_clock_that_it_was_trained_in(shards, tmp_path):
    training.run_training(settings("tie", shards / "bare"), tmp_path)
    stored = json.loads((tmp_path / "model" / "transformer" / "config.json").read_text())["actavatar"]
    assert (stored["phase_time"], stored["latent_rate"]) == ("tie", 6.25)


def test_a_model_of_another_clock_says_so_or_is_trained_for_that_of_the_clips(shards, tmp_path):
    config = settings("tie", shards / "bare")
    slow = dataclasses.replace(open_network(config).config, latent_rate=4.0)
    with pytest.raises(
        InputError, match=r"25 frames a second, and the model was made for 16; set model.latent_rate to 6.25"
    ):
        training.open_data(config, slow)
    config.model.latent_rate = 4.0
    assert open_network(config).config.rate == 16
    with pytest.raises(InputError, match="the model was made for 16"):
        training.run_training(config, tmp_path / "run")
