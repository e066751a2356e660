"""One training of a VAE from its config."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from actavatar_jax.checks import Limit, check_fields, checked, one_of, whole
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import Execution
from actavatar_jax.models.execution import DTYPES
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.runs.resolve import build
from actavatar_jax.storage import shown
from actavatar_jax.training.settings import VAEPhase, VAESettings
from actavatar_jax.training.vae import Clips, train_vae

MOST_CHANNELS = 2**16  # of a latent


def run_vae_training(config: ConfigDict, clips: Clips, workdir: Path) -> tuple[VAEConfig, Params]:
    """Trains as `config` (see `configs/vae.py`) says, and returns as `train_vae` does."""
    settings, network = read_vae_config(config)
    return train_vae(settings, network, clips, workdir)


def read_vae_config(config: ConfigDict) -> tuple[VAESettings, Network]:
    """What the training takes. Raises InputError for settings of a wrong type or beyond what is accepted."""
    rest = {name: value for name, value in config.items() if name not in ("model", "data", "precision", "phases")}
    settings = build(VAESettings, "", rest, phases=_phases(config.phases))
    build(Data, "data.", config.data)
    precision = checked("setting precision", config.precision, str, one_of(*DTYPES))
    channels = checked("setting model.z_dim", config.model.z_dim, int, whole(1, MOST_CHANNELS))
    statistics = {"latents_mean": (0.0,) * channels, "latents_std": (1.0,) * channels}
    model = build(VAEConfig, "model.", config.model, **statistics)
    return settings, Network(WanVAE, model, Execution(precision))


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Data:
    """`config.data`."""

    source: str
    dir: str
    size: int
    windows_per_visit: int

    def __post_init__(self):
        check_fields(
            self,
            "setting data.",
            source=one_of("clips", "puppets"),
            size=Limit("a multiple of 16, up to 4096", lambda x: 0 < x <= 4096 and x % 16 == 0),
            windows_per_visit=whole(1, 2**20),
        )


def _phases(phases: Any) -> tuple[VAEPhase, ...]:
    listed = isinstance(phases, tuple | list) and phases
    if not listed or not all(isinstance(phase, tuple | list) and len(phase) == 3 for phase in phases):
        raise InputError(f"The setting phases is {shown(phases)}; accepted are triples of a share, frames and clips.")
    return tuple(VAEPhase(*phase) for phase in phases)
