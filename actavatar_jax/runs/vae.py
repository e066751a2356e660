"""One training of a VAE from its config."""

from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import Execution
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.runs.resolve import build
from actavatar_jax.training.settings import VAEPhase, VAESettings
from actavatar_jax.training.vae import Clips, train_vae


def run_vae_training(config: ConfigDict, clips: Clips, workdir: Path) -> tuple[VAEConfig, Params]:
    """Trains as `config` (see `configs/vae.py`) says, and returns as `train_vae` does; who gives the clips, has read
    `config.data`."""
    rest = {name: value for name, value in config.items() if name not in ("model", "data", "precision", "phases")}
    settings = build(VAESettings, "", rest, phases=_phases(config.phases))
    zeros, ones = (0.0,) * config.model.z_dim, (1.0,) * config.model.z_dim
    model = build(VAEConfig, "model.", config.model, latents_mean=zeros, latents_std=ones)
    return train_vae(settings, Network(WanVAE, model, Execution(config.precision)), clips, workdir)


def _phases(phases: Any) -> tuple[VAEPhase, ...]:
    if not phases or not all(isinstance(phase, tuple | list) and len(phase) == 3 for phase in phases):
        raise InputError(f"The setting phases is {phases}; accepted are triples of a share, frames and clips.")
    return tuple(VAEPhase(*phase) for phase in phases)
