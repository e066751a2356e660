"""The settings of `configs/avatarsync.py`, checked before anything is drawn, and what the trainings are made of."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from actavatar_jax.avatarsync import InterpolatorConfig, KeyframeConfig, KeyframeSampling, SmallLFQConfig
from actavatar_jax.avatarsync.folder import MODULES, disagreements
from actavatar_jax.avatarsync.losses import BetweenLoss, ReconstructionLoss, TokenLoss
from actavatar_jax.checks import NOT_NEGATIVE, SHARE, check_fields, whole
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.puppets.settings import World as WorldSettings
from actavatar_jax.puppets.world.clips import World
from actavatar_jax.runs.resolve import build
from actavatar_jax.storage import refusal
from actavatar_jax.training.parts import Loss
from actavatar_jax.training.settings import MOST_STEPS, CourseSettings, OptimizerSettings

SOME = whole(1, MOST_STEPS)
NETWORKS = {"tokenizer": SmallLFQConfig, "keyframes": KeyframeConfig, "interpolator": InterpolatorConfig}
LOSSES = {"tokenizer": ReconstructionLoss, "keyframes": TokenLoss, "interpolator": BetweenLoss}
# What a run that goes on may have otherwise: how it is watched and guarded, not what is learnt.
MAY_CHANGE = {"log_every", "checkpoint_every", "sample_every", "stall_minutes", "bad_steps", "explode", "mesh"}


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Recipe:
    """What stands in no section of a part; parts are checked as what they are built to."""

    clips: int  # drawn for training
    watched_clips: int  # looked at on the way
    test_clips: int  # scored in the end

    def __post_init__(self):
        check_fields(self, "setting ", clips=SOME, watched_clips=SOME, test_clips=SOME)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class PhaseTwo:
    """`config.keyframes.phase2`: losses of pixels in the last steps, where there is a network for one."""

    share: float  # of the steps
    lpips: tuple[str, ...]  # paths of the two files of LPIPS (docs/evaluation.md); empty: off
    faces: str  # path of arcface_torch's backbone.pth; empty: off
    perceptual: float  # weight of what LPIPS tells,
    identity: float  # and of 1 - cosine of embeddings
    temperature: float  # of the softmax that gradients pass

    def __post_init__(self):
        check_fields(self, "setting keyframes.phase2.", share=SHARE, perceptual=NOT_NEGATIVE, identity=NOT_NEGATIVE)
        if len(self.lpips) not in (0, 2):
            count = len(self.lpips)
            raise InputError(f"The setting keyframes.phase2.lpips has {count} paths; accepted are 2, or none.")


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Batching:
    """`data` of a part: how its samples are drawn."""

    batch: int
    keyframes: int = 1  # of a clip
    longest: int = 2  # frames between the ends of an interval

    def __post_init__(self):
        check_fields(self, "setting data.", batch=SOME, keyframes=SOME, longest=whole(2, 1000))


def check_recipe(config: ConfigDict) -> None:
    """InputError for the first setting that is not there, of a wrong type, or beyond what is accepted."""
    sections = ("world", "sampling", *NETWORKS)
    build(Recipe, "", {name: value for name, value in config.items() if name not in sections})
    build(WorldSettings, "world.", config.world)
    World(**config.world)
    sampling_of(config)
    if problems := list(disagreements({name: network_of(config, name).config for name in NETWORKS})):
        raise refusal("The parts of the config do not fit each other:", problems)
    for name in NETWORKS:
        if unknown := sorted(set(config[name]) - {"network", "loss", "data", "training", "phase2"}):
            raise InputError(f"There is no setting {name}.{unknown[0]}.")
        course_of(config, name)
        batching_of(config, name)
        loss_of(config, name)
    phase_two(config)


def check_parts(names: Sequence[str]) -> Sequence[str]:
    """The names, if all are those of parts; else InputError."""
    if unknown := [name for name in names if name not in NETWORKS]:
        raise InputError(f"There is no part {unknown[0]!r}; the parts are {', '.join(NETWORKS)}.")
    return names


def network_of(config: ConfigDict, name: str) -> Network:
    """One of `NETWORKS`, as it computes by itself: in float32."""
    return Network(MODULES[name], build(NETWORKS[name], f"{name}.network.", config[name].network))


def loss_of(config: ConfigDict, name: str, **more: Any) -> Loss:
    """What that network is trained by; `more` is what the config does not know."""
    return build(LOSSES[name], f"{name}.loss.", config[name].loss, network=network_of(config, name), **more)


def course_of(config: ConfigDict, name: str) -> CourseSettings:
    """What `train_part` takes."""
    section = config[name].training
    optim = build(OptimizerSettings, f"{name}.training.optim.", section.optim)
    course = {name: value for name, value in section.items() if name != "optim"}
    return build(CourseSettings, f"{name}.training.", course, optim=optim)


def batching_of(config: ConfigDict, name: str) -> Batching:
    """See there."""
    return build(Batching, f"{name}.data.", config[name].data)


def phase_two(config: ConfigDict) -> PhaseTwo:
    """See there."""
    return build(PhaseTwo, "keyframes.phase2.", config.keyframes.phase2)


def sampling_of(config: ConfigDict) -> KeyframeSampling:
    """How keyframes are drawn, on the way and by the finished model."""
    return build(KeyframeSampling, "sampling.", config.sampling)
