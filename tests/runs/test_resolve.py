import dataclasses

import pytest

from actavatar_jax.diffusion import TimeLaw
from actavatar_jax.errors import InputError
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.runs import resolve, settings
from actavatar_jax.training.objective import AvatarObjective
from configs import ablation, puppets, small, stage1, stage2

STAGES = ("backbone", "stage1", "stage2")


def configs():
    yield from (stage.get_config(arg) for stage in (stage1, stage2, small) for arg in ("", "runlocal"))
    yield from (puppets.get_config(arg)[stage] for arg in ("", "runlocal", "fresh") for stage in STAGES)
    yield from (ablation.get_config(arg)[stage] for arg in ("", "runlocal") for stage in (*STAGES, "joint"))


def resolved(**changes):
    """What the library gets of stage 2 with these settings, whose dots are written as two underscores."""
    config = stage2.get_config()
    with config.unlocked(), config.ignore_type():
        config.update_from_flattened_dict({name.replace("__", "."): value for name, value in changes.items()})
    return resolve.training_settings(resolve.in_steps(config, examples=100))


def test_every_config_of_a_training_has_the_settings_and_the_library_takes_them():
    for config in configs():
        resolve.check_names(config)
        resolve.training_settings(resolve.in_steps(config, examples=1000))


def test_the_library_gets_what_the_config_says():
    changes = {"steps": "3 epochs", "sample__every": "80 examples", "optim__warmup": "5 steps", "explode": 4.0}
    got = resolved(**changes, time_law__shift=3, rules=[["head/.*", None], [".*", 2.0]])
    assert (got.steps, got.sample_every, got.optim.warmup, got.explode) == (8, 2, 5, 4.0)
    assert got.objective == AvatarObjective(TimeLaw(shift=3.0))
    assert got.rules == ParameterGroups((("head/.*", None), (".*", 2.0)))
    assert (got.seed, got.mesh, got.log_every, got.stall_minutes) == (0, "1,-1,1", 50, 30.0)


def test_the_time_law_of_a_config_is_by_default_that_of_the_library():
    assert settings.training().time_law.to_dict() == dataclasses.asdict(TimeLaw())


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"optim__learning_rate": -1.0}, "setting optim.learning_rate is -1.0; accepted is a number above 0"),
        ({"optim__schedule": "linear"}, "setting optim.schedule is 'linear'; accepted is constant or cosine"),
        ({"optim__moments": "float16"}, "setting optim.moments is 'float16'; accepted is float32 or bfloat16"),
        ({"optim__ema_decay": 1.0}, "setting optim.ema_decay is 1.0; accepted is a number from 0 to below 1"),
        ({"optim__clip": "high"}, "setting optim.clip is 'high'; accepted is a number"),
        ({"optim__nesterov": True}, "no setting optim.nesterov; there are: learning_rate, schedule, warmup"),
        ({"time_law__shift": 0.0}, "setting time_law.shift is 0.0; accepted is a number above 0"),
        ({"time_law__warp": 2.0}, "no setting time_law.warp; there are: shift, steps"),
        ({"micro_batches": 0}, "setting micro_batches is 0; accepted is a whole number from 1 to 2147483647"),
        ({"log_every": "0"}, "setting log_every is 0; accepted is a whole number from 1 to 2147483647"),
        ({"stall_minutes": -1.0}, "setting stall_minutes is -1.0; accepted is a number from 0 on"),
        ({"rules": (("(", 1.0),)}, "is no rule over parameter names"),
        ({"steps": "soon"}, '"soon" is not a duration'),
    ],
)
def test_wrong_settings_are_told_in_a_sentence(wrong, sentence):
    with pytest.raises(InputError) as error:
        resolved(**wrong)
    assert sentence in str(error.value)


def test_settings_that_there_are_not_and_those_that_are_missing_are_named():
    config = stage1.get_config()
    config.optim.learnig_rate, config.data.world.side = 1.0, 32  # the latter is the puppets' own
    del config.sample.every
    with pytest.raises(InputError) as error:
        resolve.check_names(config)
    assert "there is no setting optim.learnig_rate; the setting sample.every is missing." in str(error.value)
    assert "world" not in str(error.value)


def test_a_resumed_run_may_be_longer_unless_its_rate_falls_along_a_cosine():
    assert "steps" in resolve.may_change(stage1.get_config())
    assert "steps" not in resolve.may_change(small.get_config())
    assert "optim" not in resolve.may_change(stage1.get_config())


@pytest.mark.parametrize(
    ("duration", "steps"),
    [(7, 7), ("7", 7), ("1_000 steps", 1000), ("1 step", 1), ("81 examples", 21), ("2 epochs", 50), ("0.5 epochs", 13)],
)
def test_durations_become_steps(duration, steps):
    assert resolve.to_steps(duration, batch_size=4, examples=100) == steps


@pytest.mark.parametrize("duration", ["", "soon", "-1", "5 hours", "nan steps", "inf"])
def test_other_durations_are_refused(duration):
    with pytest.raises(InputError, match="is not a duration"):
        resolve.to_steps(duration, batch_size=4, examples=100)
