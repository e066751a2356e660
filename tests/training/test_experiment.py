import numpy as np
import pytest

from actavatar_jax import experiment
from actavatar_jax.errors import InputError
from actavatar_jax.models import functional
from actavatar_jax.models.presets import ADAPTER
from actavatar_jax.weights import folder as model_folder
from configs import stage1, stage2


def short(stage, **model):
    config = stage.get_config("runlocal")
    config.steps = "2"
    config.model.update(model)
    return config


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The workdir of a stage 1 of two steps, to whose folder a file of another component was added."""
    workdir = tmp_path_factory.mktemp("first")
    experiment.run(short(stage1), workdir)
    (workdir / "model" / "vae").mkdir()
    (workdir / "model" / "vae" / "config.json").write_text("{}")
    return workdir


def test_stage_2_goes_on_from_what_stage_1_wrote(first, tmp_path):
    config, seen = short(stage2, folder=str(first / "model"), preset=""), []
    config.adapter = str(first / "model")
    config.sample.every = "1"
    state = experiment.run(
        config, tmp_path, sample=lambda model_config, params, step: seen.append((model_config, step))
    )
    assert [step for _, step in seen] == [1, 2]
    assert seen[0][0].dtype == "bfloat16"
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoints", "metrics.jsonl", "model", "tensorboard"}
    assert (tmp_path / "model" / "vae" / "config.json").read_text() == "{}"

    weights = functional.flatten(state.weights)
    saved = functional.flatten(model_folder.load(tmp_path / "model", "transformer").params)
    started = functional.flatten(model_folder.load(first / "model", "transformer").params)
    assert saved.keys() == weights.keys() == started.keys()
    for name, leaf in weights.items():
        np.testing.assert_array_equal(saved[name], leaf, err_msg=name)
    assert not np.array_equal(saved["blocks/ffn/up/kernel"], started["blocks/ffn/up/kernel"])


def test_the_adapter_comes_from_its_folder_and_the_rest_does_not(first):
    config = short(stage2)
    config.seed = 5
    _, fresh = experiment.open_model(config)
    config.adapter = str(first / "model")
    _, mixed = experiment.open_model(config)
    stage_1 = functional.flatten(model_folder.load(first / "model", "transformer").params)
    adapter, rest = functional.split(functional.flatten(mixed), ADAPTER)
    for name, leaf in adapter.items():
        np.testing.assert_array_equal(leaf, stage_1[name], err_msg=name)
    for name, leaf in rest.items():
        np.testing.assert_array_equal(leaf, functional.flatten(fresh)[name], err_msg=name)


def test_a_help_can_be_switched_on_for_an_old_model_but_not_off(first):
    folder = str(first / "model")
    config, params = experiment.open_model(short(stage2, folder=folder, preset="", phase_bias="soft"))
    assert config.phase_bias == "soft"
    assert not functional.flatten(params)["blocks/window_strength"].any()
    with pytest.raises(InputError, match="frame_time/bias, frame_time/kernel"):
        experiment.open_model(short(stage2, folder=folder, preset="", frame_time=False))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": ""}, "one of the two"),
        ({"preset": "tiny", "folder": "x"}, "one of the two"),
        ({"preset": "huge"}, 'no preset "huge"; there are: wan22_ti2v_5b, tiny'),
    ],
)
def test_models_that_are_not_there_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        experiment.open_model(short(stage2, **changes))


def test_an_adapter_that_was_never_trained_is_refused(tmp_path):
    model_config, params = experiment.open_model(short(stage2))
    experiment.write_model(tmp_path / "model", "", model_config, params)
    config = short(stage2)
    config.adapter = str(tmp_path / "model")
    with pytest.raises(InputError, match="never been trained"):
        experiment.open_model(config)
