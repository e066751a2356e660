"""The settings of the puppet world's config (`configs/puppets.py`), checked before anything is drawn or trained."""

import dataclasses
import typing

from ml_collections import ConfigDict

from actavatar_jax.checks import COUNT, POSITIVE, check_fields, each, one_of, whole
from actavatar_jax.diffusion import Sampling
from actavatar_jax.models import PRESETS, FrameDecoderConfig, PatchCodecConfig
from actavatar_jax.models.limits import DEPTH, SIZE
from actavatar_jax.puppets.decoder import Settings as DecoderSettings
from actavatar_jax.puppets.world.clips import IDLE
from actavatar_jax.puppets.world.clips import World as PuppetWorld
from actavatar_jax.runs.resolve import build, check_names, in_steps, training_settings
from actavatar_jax.runs.sections import check_options, check_values
from actavatar_jax.runs.settings import chosen
from actavatar_jax.training.settings import MOST_STEPS

SOME = whole(1, MOST_STEPS)
STAGES = ("backbone", "stage1", "stage2")
SECTIONS = ("world", "code", "network", "hearing", "decoder", "sample", *STAGES)


def check_recipe(config: ConfigDict) -> None:
    """InputError for the first setting that is not there, of a wrong type, or beyond what is accepted."""
    build(Recipe, "", {name: value for name, value in config.items() if name not in SECTIONS})
    build(World, "world.", config.world)
    PuppetWorld(**config.world)
    build(Hearing, "hearing.", config.hearing)
    build(PatchCodecConfig, "code.", config.code)
    build(Network, "network.", config.network)
    build(Decoder, "decoder.", {**config.decoder, "network": {}, "training": {}})
    build(FrameDecoderConfig, "decoder.network.", config.decoder.network)
    build(DecoderSettings, "decoder.training.", config.decoder.training)
    check_options(config.sample)
    Sampling(**chosen(config.sample))
    for name in STAGES:
        check_names(config[name])
        check_values(config[name])
        training_settings(in_steps(config[name], config.clips))


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Recipe:
    """What stands in no section."""

    preset: str
    tokens: tuple[int, int, int]
    fresh: bool
    clips: int
    vae: str
    codec_clips: int
    watched_clips: int
    test_clips: int

    def __post_init__(self):
        counts = dict.fromkeys(("clips", "codec_clips", "watched_clips", "test_clips"), SOME)
        check_fields(self, "setting ", preset=one_of(*PRESETS), tokens=each(COUNT, 3), **counts)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class World:
    """`config.world`: types and sizes of what `puppets.world.clips.World` is made of."""

    side: int = PuppetWorld.side
    frames: int = PuppetWorld.frames
    grid: float = PuppetWorld.grid
    max_phases: int = PuppetWorld.max_phases
    languages: tuple[str, ...] = PuppetWorld.languages
    idle: str = PuppetWorld.idle

    def __post_init__(self):
        check_fields(
            self,
            "setting world.",
            side=whole(16, 4096),
            frames=whole(1, 100_000),
            grid=POSITIVE,
            max_phases=whole(1, 4),
            idle=one_of(*IDLE),
        )


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Network:
    """`config.network`: what differs from the preset's transformer."""

    layers: int
    ffn: int
    heads: int

    def __post_init__(self):
        check_fields(self, "setting network.", layers=DEPTH, ffn=SIZE, heads=SIZE)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Hearing:
    """`config.hearing`."""

    utterances: int
    steps: int

    def __post_init__(self):
        check_fields(self, "setting hearing.", utterances=SOME, steps=SOME)


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Decoder:
    """`config.decoder`, but for what is in its sections."""

    network: dict
    training: dict
    watch_every: int

    def __post_init__(self):
        check_fields(self, "setting decoder.", watch_every=SOME)
