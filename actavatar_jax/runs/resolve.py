"""From a config to what the library takes: names checked, durations in steps, frozen dataclasses."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from ml_collections import ConfigDict

from actavatar_jax.checks import checked, one_of
from actavatar_jax.diffusion import TimeLaw
from actavatar_jax.echomimic import EchoMimicObjective, PhaseDropout
from actavatar_jax.errors import InputError
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.runs.settings import echomimic, training
from actavatar_jax.storage import cut, refusal
from actavatar_jax.training.lora import RATES, LoraSettings
from actavatar_jax.training.objective import AvatarObjective, Objective
from actavatar_jax.training.preference import PreferenceSettings
from actavatar_jax.training.settings import CONTENTS, MOST_STEPS, OptimizerSettings, TrainingSettings

DURATIONS = ("steps", "log_every", "checkpoint_every", "heldout.every", "sample.every", "optim.warmup", "optim.decay")
SETTINGS = {"actavatar": training, "echomimic": echomimic}  # by the name of a system
OPEN = ("data.world",)  # sections whose names are those of the source of the data

Settings = TypeVar("Settings")


def check_names(config: ConfigDict) -> None:
    """InputError unless a config has the settings of its system (`settings`), and no other ones."""
    system = checked("setting system", config.get("system", "actavatar"), str, one_of(*SETTINGS))
    ours, theirs = _names(SETTINGS[system]().to_dict()), _names(config.to_dict())
    problems = [f"there is no setting {name}" for name in theirs if name not in ours]
    problems += [f"the setting {name} is missing" for name in ours if name not in theirs]
    if problems:
        raise refusal("The config does not fit actavatar_jax/runs/settings.py:", problems)


def in_steps(config: ConfigDict, examples: int | None) -> ConfigDict:
    """A copy of the config with every duration as a number of steps; `examples` as `to_steps` takes them."""
    config = config.copy_and_resolve_references()
    with config.ignore_type():
        for name in DURATIONS:
            *parents, leaf = name.split(".")
            section = config[parents[0]] if parents else config
            section[leaf] = to_steps(section[leaf], config.data.batch_size, examples)
    return config


def to_steps(duration: object, batch_size: int, examples: int | None) -> int:
    """Steps in a duration such as `500`, `"500 steps"`, `"20_000 examples"` or `"1.5 epochs"`.

    `examples` is the length of an epoch, None where the data have no end. Raises InputError for anything else.
    """
    number, _, unit = str(duration).strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    unit = unit.strip().removesuffix("s")
    if not 0 <= value < math.inf or unit not in ("", "step", "example", "epoch"):
        raise InputError(
            f'"{cut(str(duration), 60)}" is not a duration; write a number of steps, examples or epochs: "500 steps".'
        )
    if unit == "example":
        value /= batch_size
    elif unit == "epoch":
        if examples is None:
            raise InputError(f'"{duration}" cannot be counted: these data have no epochs; write steps or examples.')
        value *= examples / batch_size
    if value > MOST_STEPS:
        raise InputError(f'"{cut(str(duration), 60)}" is more than {MOST_STEPS} steps; nobody counts further.')
    return math.ceil(value)


def training_settings(config: ConfigDict) -> TrainingSettings:
    """What `training.loop.train` takes, from a config with its durations in steps."""
    return TrainingSettings(
        seed=config.seed,
        mesh=config.mesh,
        micro_batches=config.micro_batches,
        steps=config.steps,
        log_every=config.log_every,
        checkpoint_every=config.checkpoint_every,
        heldout_every=config.heldout.every,
        sample_every=config.sample.every,
        bad_steps=config.bad_steps,
        explode=config.explode,
        stall_minutes=config.stall_minutes,
        rules=RATES if config.lora.rank else ParameterGroups(config.rules),
        optim=build(OptimizerSettings, "optim.", config.optim),
        objective=objective_of(config),
        preference=preference_settings(config),
        lora=lora_settings(config),
    )


def objective_of(config: ConfigDict) -> Objective:
    """What the step of the config's system draws and asks of its model."""
    law = build(TimeLaw, "time_law.", config.time_law)
    if config.system == "actavatar":
        return AvatarObjective(law)
    e = config.echomimic
    return EchoMimicObjective(law, PhaseDropout(e.late, e.early) if e.phase_dropout else None, e.windows)


def preference_settings(config: ConfigDict) -> PreferenceSettings | None:
    """How steps of pairs are taken; None where there are none."""
    p = config.preference
    return PreferenceSettings(p.beta, p.region_weight) if p.folder else None


def lora_settings(config: ConfigDict) -> LoraSettings | None:
    """What LoRA adds to the model; None where its rank is 0."""
    c = config.lora
    return LoraSettings(c.rank, c.alpha, ParameterGroups(c.rules)) if c.rank else None


def build(kind: type[Settings], section: str, values: Mapping[str, Any] | ConfigDict, **more: Any) -> Settings:
    """A frozen dataclass from a section of a config, such as "optim."; InputError for names that it does not have."""
    names = [field.name for field in dataclasses.fields(kind)]
    if unknown := [name for name in values if name not in names]:
        raise InputError(f"There is no setting {section}{unknown[0]}; there are: {', '.join(names)}.")
    return kind(**values, **more)


def may_change(config: ConfigDict) -> set[str]:
    """Settings that a resumed run may alter: how it is computed, watched and guarded, and where things lie, not what is
    learnt.

    The learning rate is one of them, because a run that diverged goes on with a lower one, and so are the guards. A
    cosine ends where it was to end.
    """
    free = {"log_every", "checkpoint_every", "heldout", "sample", "best", "stall_minutes"}
    free |= {"mesh", "micro_batches", "model.remat", "model.attention", "model.splash_blocks"}
    free |= {"data.dirs", "preference.folder", f"{CONTENTS}heldout.dirs"}  # of the first two, what they hold may not
    free |= {"optim.learning_rate", "optim.decay", "bad_steps", "explode"}
    return free if config.optim.schedule == "cosine" else free | {"steps"}


def _names(section: Mapping[str, Any], above: str = "") -> list[str]:
    """Names of all settings, dots between section and name."""
    names = []
    for name, value in section.items():
        name = above + name
        inside = isinstance(value, Mapping) and name not in OPEN
        names += _names(value, f"{name}.") if inside else [name]
    return names
