"""Training ActAvatar: its weights, the form of its data, its sample videos, and what a run leaves."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.encoders import Encoders, stored_fingerprint
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.media.clock import FPS
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.parallel import agreed, make_mesh
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.runs import opening
from actavatar_jax.runs.exporting import write_model
from actavatar_jax.runs.jobs import read_jobs, run_jobs
from actavatar_jax.runs.opening import Places, open_network
from actavatar_jax.runs.sample_scores import sample_folder
from actavatar_jax.runs.settings import chosen
from actavatar_jax.training.groups import backbone_is_frozen, multipliers, trains_adapter_alone
from actavatar_jax.training.settings import TrainingSettings
from actavatar_jax.weights import TRAINED, Component, find, lora, never_trained, write_adapter
from actavatar_jax.weights import folder as model_folder
from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import Bucket

__all__ = [
    "FULL_SIZE",
    "STRIDE",
    "check_batch",
    "entries",
    "fingerprint",
    "finish",
    "loading",
    "make_sampler",
    "open_network",
    "open_weights",
    "synthetic",
    "tasks",
]

FULL_SIZE = "wan22_ti2v_5b"  # the preset of a plan without a model
STRIDE = 16  # pixels of a side for one latent place, at full size

log = logging.getLogger(__name__)


def open_weights(
    config: ConfigDict, network: Network, settings: TrainingSettings, wanted: Collection[str], places: Places
) -> dict[str, Any]:
    """The parameters `wanted` by name, as `opening.open_params` has them; says so where an adapter is fresh."""
    leaves = opening.open_params(config, network, wanted, places)
    if config.model.folder and _learns_with_backbone(network, settings) and never_trained(leaves):
        log.warning("The audio adapter has never been trained; give that of stage 1 as config.adapter.")
    return leaves


def loading(config: ConfigDict, m: DiTConfig) -> dict[str, Any]:
    """Options of the loaders that follow from the model."""
    if m.rate != FPS:
        raise InputError(
            f"Clips have {FPS} frames a second, and the model was made for {m.rate}; set model.latent_rate to "
            f"{FPS / 4:g} to train it for {FPS}."
        )
    return {"text_len": m.text_len, "max_phases": m.max_phases, "anchors": has_anchors(m.phase_time)}


def tasks(config: ConfigDict) -> None:
    """What of a video is known is always the same: its first frame."""
    return None


def synthetic(config: ConfigDict, m: DiTConfig) -> SyntheticSource:
    """Made-up clips of `data.bucket`."""
    return SyntheticSource(
        Bucket(*config.data.bucket),
        channels=m.in_channels,
        text_dim=m.text_dim,
        audio_layers=m.audio.feature_layers,
        audio_dim=m.audio.feature_width,
    )


def entries(m: DiTConfig, grid: tuple[int, int, int], frames: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shapes and dtypes of a sample of a batch, beside its latents (`planning.training.Workload`)."""
    return {
        "text": ((m.text_len, m.text_dim), jnp.bfloat16),
        "phase_ids": ((m.text_len,), jnp.int32),
        "phase_windows": ((m.max_phases, 2), jnp.float32),
        "audio": ((frames, m.audio.feature_layers, m.audio.feature_width), jnp.float16),
    }


def check_batch(batch: Mapping[str, Any], m: DiTConfig) -> None:
    """InputError for clips that were encoded by other parts than the model's."""
    ours = (m.in_channels, m.text_dim, m.audio.feature_layers, m.audio.feature_width)
    theirs = (batch["latents"].shape[-1], batch["text"].shape[-1], *batch["audio"].shape[-2:])
    if ours != theirs:
        parts = "latent channels, text width, speech layers, speech width"
        raise InputError(f"The shards were made by other encoders than the model's: {parts} are {theirs}, not {ours}.")


def fingerprint(config: ConfigDict) -> dict[str, str] | None:
    """Of the frozen parts beside the model, where there are some. All their files are read, once."""
    return stored_fingerprint(config.model.folder) if config.model.folder else None


def make_sampler(config: ConfigDict, network: Network, workdir: Path) -> Callable[[Params, int], None] | None:
    """Makes the videos of `config.sample` from parameters, on the run's mesh; None where the settings ask for none."""
    c, base = config.sample, config.model.folder
    if not c.every:
        return None
    if not (c.jobs and base):
        raise InputError(
            "Sample videos need sample.jobs and, for the encoders, model.folder; else set sample.every to 0."
        )
    options, defaults = chosen(c), model_folder.load_defaults(base)
    defaults.sampling.changed(**options)  # what is wrong should show now, not at the first visit
    jobs = read_jobs(Path(c.jobs), options)
    for part in ("text_encoder", "audio_encoder", "vae"):
        find(Path(base), part)  # and so should what is missing
    mesh = make_mesh(config.mesh) if jax.device_count() > 1 else None

    def sample(params: Params, step: int) -> None:
        with agreed():
            encoders = Encoders.from_folder(base, mesh=mesh)  # for this visit: then memory is the training's again
        pipeline = ActAvatarPipeline(Component.of(network, params), encoders, defaults, mesh)
        folder = sample_folder(workdir, step)
        here = [dataclasses.replace(job, out=str(folder / Path(job.out).name)) for job in jobs]
        run_jobs(pipeline, here, stall_minutes=config.stall_minutes)

    return sample


def finish(
    config: ConfigDict, network: Network, settings: TrainingSettings, workdir: Path, params: Params, step: int
) -> None:
    """The model folder `workdir/model`, or of a run that trains less what it trained."""
    if settings.lora:
        lora.write(workdir / "lora.safetensors", params, network.config)
    elif trains_adapter_alone(functional.abstract(network.module, network.config), settings.rules):
        about = {"base": config.model.folder or config.model.preset, "step": step}
        about["settings"] = config.to_dict()
        write_adapter(workdir / "adapter.safetensors", params, network.config, **about)
    else:
        write_model(workdir / "model", config.model.folder, network.config, params)


def _learns_with_backbone(network: Network, settings: TrainingSettings) -> bool:
    """Whether the audio adapter and the backbone learn together, as in stage 2."""
    if settings.lora:
        return False
    speeds = multipliers(functional.abstract(network.module, network.config), settings.rules)
    return speeds[TRAINED] is not None and not backbone_is_frozen(speeds)
