import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.runs import vae as runs
from actavatar_jax.training.settings import VAEPhase
from configs import vae


@pytest.fixture
def told(monkeypatch):
    """What the training is told."""
    told = []

    def train(settings, network, clips, workdir):
        told[:] = settings, network, workdir
        return network.config, {}

    monkeypatch.setattr(runs, "train_vae", train)
    return told


def test_the_training_is_told_what_the_config_says(told, tmp_path):
    config = vae.get_config("runlocal")
    config.precision = "bfloat16"
    runs.run_vae_training(config, iter(()), tmp_path)
    settings, network, workdir = told
    assert settings.phases == (VAEPhase(0.6, 1, 8), VAEPhase(0.4, 5, 2))
    assert (settings.steps, settings.learning_rate, settings.seed) == (60, 1e-2, 0)
    assert (network.config.z_dim, network.config.latents_std, network.execution.dtype) == (8, (1.0,) * 8, "bfloat16")
    assert workdir == tmp_path


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("learnig_rate", 1.0, "There is no setting learnig_rate; there are: seed, steps"),
        ("model.width", 3, "There is no setting model.width; there are: encoder_base"),
        ("steps", 0, "The setting steps is 0; accepted is a whole number from 1 to 2147483647"),
        ("phases", ((1.0, 5),), "accepted are triples of a share, frames and clips"),
        ("phases", ((1.0, 5, 0),), "The value of phases, its clips is 0; accepted is a whole number from 1 to"),
        ("phases", (), "accepted are triples"),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(name, value, sentence, told, tmp_path):
    config = vae.get_config()
    *above, leaf = name.split(".")
    with config.ignore_type():
        (config[above[0]] if above else config)[leaf] = value
    with pytest.raises(InputError) as error:
        runs.run_vae_training(config, iter(()), tmp_path)
    assert sentence in str(error.value) and not told
