"""Types and ranges of the settings of a training that become no frozen dataclass of the library below.

What the library takes whole, as `optim` and `time_law`, it checks itself (`resolve.training_settings`).
"""

import dataclasses
import typing

from ml_collections import ConfigDict

from actavatar_jax.checks import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Limit, check_fields, checked, each, one_of, whole
from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.functional import SEEDS
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.models.execution import ATTENTIONS, DTYPES, REMATS, SPLASH_BLOCKS
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.prompt.forms import FORMS
from actavatar_jax.runs.settings import chosen
from actavatar_jax.storage import check_on_disk, cut, shown
from actavatar_jax.training.best import FIGURES
from actavatar_jax.training.runtime.workdir import leaves

MOST = 2**20  # samples in a batch, and clips that are held out
# Options of sampling that are nothing without another one.
TOGETHER = {"solver": {"steps": 1}, "height": {"width": 64}, "width": {"height": 64}}


def check_values(config: ConfigDict) -> None:
    """InputError for the first setting of another type or beyond what is accepted; names are taken for checked."""
    check_places(config)
    checked("setting seed", config.seed, int, whole(SEEDS.start, SEEDS.stop - 1))
    checked("setting precision", config.precision, str, one_of(*DTYPES))
    checked("setting mesh", config.mesh, str)
    checked("setting adapter", config.adapter, str)
    checked("setting lora.rank", config.lora.rank, int, whole(0, 2**16))
    checked("setting lora.alpha", config.lora.alpha, float, POSITIVE)
    for name, rules in (("rules", config.rules), ("lora.rules", config.lora.rules)):
        if not isinstance(rules, tuple | list):
            raise InputError(f"The setting {name} is {shown(rules)}; accepted is a list of rules.")
        ParameterGroups(rules)
    sections = ((Model, config.model), (Data, config.data), (HeldOut, config.heldout), (Preference, config.preference))
    for section, values in sections:
        section(**values.to_dict())
    if config.system == "echomimic":
        EchoMimic(**config.echomimic.to_dict())
    checked("setting best", config.best, str, one_of("", *FIGURES))
    checked("setting sample.jobs", config.sample.jobs, str)
    checked("setting sample.syncnet", config.sample.syncnet, str)
    check_options(config.sample)


def check_places(config: ConfigDict) -> None:
    """InputError where something is to lie on an object store that has to be on a disk: all but encoded clips."""
    for name, value in leaves(config.to_dict()).items():
        if isinstance(value, str) and name != "preference.folder":
            try:
                check_on_disk(value)
            except InputError as error:
                raise InputError(f"The setting {name}: {error}") from error


def check_options(sample: ConfigDict) -> None:
    """InputError for the first wrong option of sampling. Of each alone: what they are together is known only with those
    of the model folder (`training.make_sampler`)."""
    for name, value in chosen(sample).items():
        try:
            Sampling(**{name: value, **TOGETHER.get(name, {})})
        except InputError as error:
            raise InputError(f"The setting sample.{name} is {shown(value)}: {cut(str(error), 200)}") from error


def _or_unset(limit: Limit) -> Limit:
    return Limit(limit.words, lambda x: x is None or limit.holds(x))


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Model:
    """`config.model`; see `settings.training` for what they mean."""

    folder: str
    preset: str
    remat: str
    stream: str | None
    attention: str
    splash_blocks: tuple[int, int, int]
    phase_time: str | None
    latent_rate: float | None
    frame_time: bool | None
    gamma: float | None

    def __post_init__(self):
        check_fields(
            self,
            "setting model.",
            remat=one_of(*REMATS),
            stream=_or_unset(one_of(*DTYPES)),
            attention=one_of(*ATTENTIONS),
            splash_blocks=SPLASH_BLOCKS,
            phase_time=_or_unset(one_of(*FORMS)),
            latent_rate=_or_unset(DiTConfig.LIMITS["latent_rate"]),
            gamma=_or_unset(NOT_NEGATIVE),
        )


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Data:
    """`config.data`."""

    source: str
    dirs: tuple[str, ...]
    weights: tuple[float, ...] | None
    batch_size: int
    text_drop: float
    audio_drop: float
    both_drop: float
    bucket: tuple[int, int, int]
    world: dict
    wording: str

    def __post_init__(self):
        drops = dict.fromkeys(("text_drop", "audio_drop", "both_drop"), SHARE)
        check_fields(
            self,
            "setting data.",
            batch_size=whole(1, MOST),
            bucket=each(COUNT, 3),
            wording=one_of("structured", "global", "brief"),
            **drops,
        )


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class EchoMimic:
    """`config.echomimic`."""

    variant: str
    base: str
    audio_encoder: str
    windows: bool
    phase_dropout: bool
    late: float
    early: float
    tasks: dict

    def __post_init__(self):
        check_fields(self, "setting echomimic.", variant=one_of("preview", "flash"))
        for name, share in self.tasks.items():
            checked(f"setting echomimic.tasks.{name}", share, float, NOT_NEGATIVE)
        if not sum(self.tasks.values()):
            raise InputError("The settings echomimic.tasks are all 0; one of them is to be above.")


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class HeldOut:
    """`config.heldout`."""

    dirs: tuple[str, ...]
    every: object  # a duration, which `resolve.to_steps` checks
    clips: int

    def __post_init__(self):
        check_fields(self, "setting heldout.", clips=whole(1, MOST))


@typing.no_type_check
@dataclasses.dataclass(frozen=True)
class Preference:
    """`config.preference`."""

    folder: str
    every: int
    batch_size: int
    beta: float
    region_weight: float

    def __post_init__(self):
        limits = {"every": whole(2, MOST), "batch_size": whole(1, MOST), "beta": POSITIVE, "region_weight": POSITIVE}
        check_fields(self, "setting preference.", **limits)
