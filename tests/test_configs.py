import json

import pytest

from actavatar_jax import Sampling, functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import ADAPTER, Execution
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.runs import settings
from actavatar_jax.runs.resolve import in_steps
from actavatar_jax.runs.settings import transformer_network
from actavatar_jax.training.groups import multipliers
from configs import small, stage1, stage2

STAGES = {"stage1": stage1, "stage2": stage2}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_holds_the_values_of_the_paper_and_fits_the_full_model(name):
    config = in_steps(STAGES[name].get_config(), examples=100_000)
    assert config.steps == {"stage1": 20_000, "stage2": 14_000}[name]
    assert (config.data.batch_size, config.optim.learning_rate, config.optim.warmup) == (40, 5e-6, 500)
    assert (config.data.text_drop, config.data.audio_drop, config.data.both_drop) == (0.1, 0.1, 0.05)
    assert (config.time_law.shift, config.time_law.noisy_share, config.sample.every) == (5.0, 0.0, 0)
    json.dumps(config.to_dict())  # as each checkpoint does

    # What a new adapter adds to the first blocks would be lost in a bfloat16 stream.
    execution = transformer_network(config, DiTConfig()).execution
    stream = {"stage1": "float32", "stage2": None}[name]
    assert execution == Execution("bfloat16", stream=stream, remat="full")

    speeds = multipliers(functional.abstract(ActAvatarDiT, DiTConfig()), ParameterGroups(config.rules))
    trained = {name for name, speed in speeds.items() if speed is not None}
    assert trained == set(functional.split(speeds, ADAPTER)[0] if name == "stage1" else speeds)


def test_a_small_model_from_scratch_gets_its_helps_in_stage_2():
    config = stage2.get_config("preset=small")
    assert config.model.preset == "small"
    assert config.rules[0] == ("phase_embedding/.*|blocks/window_strength|latent_log_variance", 10.0)
    assert config.time_law.noisy_share == 0.5
    assert stage2.get_config().rules[0][1] == 1.0


def test_the_small_world_learns_everything_from_scratch_at_either_size():
    whole, shrunk = (in_steps(small.get_config(arg), examples=4) for arg in ("", "runlocal"))
    for config in (whole, shrunk):
        assert (config.rules, config.precision, config.model.remat) == (settings.FROM_SCRATCH, "float32", "none")
        assert (config.optim.schedule, config.optim.learning_rate, config.time_law.noisy_share) == ("cosine", 1e-3, 0.5)
        assert 0 < max(config.optim.warmup, config.log_every, config.checkpoint_every) < config.steps
    assert (whole.model.folder, whole.model.preset) == ("", "")  # the folder of `actavatar init` is still to be named
    assert (shrunk.model.preset, shrunk.data.source) == ("tiny", "synthetic")


def test_sampling_is_the_model_folders_but_for_what_is_set():
    config = settings.read_config("configs/stage2.py")
    assert settings.chosen(config.sample) == {}
    changes = {"steps": "8", "solver": "euler", "text_guidance": "2", "negative_prompt": "dull", "num_frames": "9"}
    config = settings.read_config("configs/stage2.py", [f"--config.sample.{name}={v}" for name, v in changes.items()])
    wanted = {"steps": 8, "solver": "euler", "text_guidance": 2.0, "negative_prompt": "dull", "num_frames": 9}
    assert settings.chosen(config.sample) == wanted
    with pytest.raises(InputError, match=r"configs/stage2\.py cannot be used"):
        settings.read_config("configs/stage2.py", ["--config.sample.pace=8"])


def test_an_interval_of_guidance_is_set_in_files_and_behind_them():
    sample = settings.sampling(guidance_interval=(0.2, 0.9), skip=0.1)
    assert settings.chosen(sample) == {"guidance_interval": (0.2, 0.9), "skip": 0.1}
    for written in ("(0.2, 1)", "0.2,1"):
        config = settings.read_config("configs/stage2.py", [f"--config.sample.guidance_interval={written}"])
        assert Sampling(**settings.chosen(config.sample)).guidance_interval == (0.2, 1.0)
    config = settings.read_config("configs/stage2.py", ["--config.sample.guidance_interval=0.2"])
    with pytest.raises(InputError, match="accepted is a list of 2"):
        Sampling(**settings.chosen(config.sample))


def test_the_argument_behind_the_colon():
    parsed = settings.parse_arg("runlocal,size=3,name=x", runlocal=False, size=1, name="", other=2.0)
    assert parsed.to_dict() == {"runlocal": True, "size": 3, "name": "x", "other": 2.0}
    assert not settings.parse_arg("runlocal=false", runlocal=True).runlocal
    for wrong, message in {
        "huge": "there are: runlocal, size",
        "size": "needs a value",
        "runlocal=1": "a switch",
    }.items():
        with pytest.raises(ValueError, match=message):
            settings.parse_arg(wrong, runlocal=False, size=1)
