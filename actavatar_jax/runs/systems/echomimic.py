"""Training EchoMimicV3, whose authors published none: weights, form of the data, sample videos, what a run leaves."""

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.echomimic import (
    PRESETS,
    EchoMimicConfig,
    EchoMimicDiT,
    EchoMimicEncoders,
    EchoMimicPipeline,
    hears,
    open_transformer,
    read_config,
    write_transformer,
)
from actavatar_jax.echomimic.config import AUDIO
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import Execution
from actavatar_jax.runs.candidates import read_echomimic_jobs
from actavatar_jax.runs.opening import Places
from actavatar_jax.runs.sample_scores import sample_folder
from actavatar_jax.runs.settings import chosen
from actavatar_jax.training.settings import TrainingSettings
from actavatar_jax.weights import Component, draw_leaves
from data_pipelines.loading import SyntheticSource, SyntheticTasks
from data_pipelines.shards import Bucket

MAX_PHASES = 8
FULL_SIZE = "preview"  # the preset of a plan without a model
STRIDE = 8  # pixels of a side for one latent place

log = logging.getLogger(__name__)


def open_network(config: ConfigDict) -> Network:
    """The transformer without its parameters, which are not read."""
    m = config.model
    if bool(m.folder) == bool(m.preset):
        raise InputError("A run starts from model.folder or from model.preset: set one of the two.")
    if m.preset and m.preset not in PRESETS:
        raise InputError(f'There is no preset "{m.preset}" of EchoMimicV3; there are: {", ".join(PRESETS)}.')
    _check_unused(config)
    size = read_config(Path(m.folder), config.echomimic.variant) if m.folder else PRESETS[m.preset]
    execution = Execution(
        dtype=config.precision,
        stream=m.stream,
        attention=m.attention,
        remat=m.remat,
        splash_blocks=tuple(m.splash_blocks),
    )
    return Network(EchoMimicDiT, size, execution)


def open_weights(
    config: ConfigDict, network: Network, settings: TrainingSettings, wanted: Collection[str], places: Places
) -> dict[str, Any]:
    """The parameters `wanted` by name, in float32: from the folder, from the one below it, or drawn by the seed.

    Of a folder that has none for speech, as Wan2.1-Fun's own, those are drawn: at first nothing is heard.
    """
    folder, size = config.model.folder, network.config
    if not folder:
        return draw_leaves(network, wanted, config.seed, places=places)
    deaf = not hears(Path(folder), size)
    fresh = set(functional.split(dict.fromkeys(wanted), AUDIO)[0]) if deaf else set()
    if fresh:
        log.info("%s has no parameters for speech; they are drawn.", folder)
    stored = set(wanted) - fresh
    base = Path(config.echomimic.base) if config.echomimic.base else None
    shardings = functional.unflatten({name: places[name] for name in stored})
    read = open_transformer(Path(folder), base, size, dtype=jnp.float32, shardings=shardings, only=stored).read()
    return draw_leaves(network, fresh, config.seed, places=places) | functional.flatten(read)


def loading(config: ConfigDict, m: EchoMimicConfig) -> dict[str, Any]:
    """Options of the loaders that follow from the model."""
    return {"text_len": m.text_len, "max_phases": MAX_PHASES, "anchors": False, "tasks": tasks(config)}


def tasks(config: ConfigDict) -> dict[str, float]:
    """How often each task is drawn."""
    return config.echomimic.tasks.to_dict()


def synthetic(config: ConfigDict, m: EchoMimicConfig) -> SyntheticSource:
    """Made-up clips of `data.bucket`."""
    flash = m.variant == "flash"
    return SyntheticTasks(
        Bucket(*config.data.bucket),
        channels=m.out_channels,
        text_dim=m.text_dim,
        audio_layers=m.audio_layers if flash else 1,
        audio_dim=m.audio_dim,
        stride=STRIDE,
        audio_rate=1 if flash else 2,
        picture_tokens=m.image_tokens,
        picture_dim=m.image_dim,
    )


def entries(m: EchoMimicConfig, grid: tuple[int, int, int], frames: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shapes and dtypes of a sample of a batch, beside its latents (`planning.training.Workload`)."""
    heard = (frames, m.audio_layers) if m.variant == "flash" else (2 * frames, 1)
    return {
        "text": ((m.text_len, m.text_dim), jnp.bfloat16),
        "phase_ids": ((m.text_len,), jnp.int32),
        "phase_windows": ((MAX_PHASES, 2), jnp.float32),
        "audio": ((*heard, m.audio_dim), jnp.float16),
        "picture": ((m.image_tokens, m.image_dim), jnp.bfloat16),
        "known": ((*grid, m.known_channels), jnp.bfloat16),
    }


def check_batch(batch: Mapping[str, Any], m: EchoMimicConfig) -> None:
    """InputError for clips that were encoded by other parts than the model's."""
    layers = m.audio_layers if m.variant == "flash" else 1
    ours = (m.out_channels, m.known_channels, m.text_dim, m.image_dim, layers, m.audio_dim)
    last = (batch[name].shape[-1] for name in ("latents", "known", "text", "picture"))
    theirs = (*last, *batch["audio"].shape[-2:])
    if ours != theirs:
        parts = "latent channels, known channels, text width, picture width, speech layers, speech width"
        raise InputError(f"The shards were made by other encoders than the model's: {parts} are {theirs}, not {ours}.")


def fingerprint(config: ConfigDict) -> dict[str, str] | None:
    """Of the frozen parts: only shards know them, since a run needs none of their files; they are compared among each
    other."""
    return None


def make_sampler(config: ConfigDict, network: Network, workdir: Path) -> Callable[[Params, int], None] | None:
    """Makes the videos of `config.sample` from parameters; None where the settings ask for none."""
    c, e = config.sample, config.echomimic
    if not c.every:
        return None
    if not (c.jobs and e.base and e.audio_encoder):
        raise InputError(
            "Sample videos need sample.jobs and, for the encoders, echomimic.base and echomimic.audio_encoder; else "
            "set sample.every to 0."
        )
    jobs = read_echomimic_jobs(Path(c.jobs), network.config.variant, **chosen(c))

    def sample(params: Params, step: int) -> None:
        encoders = EchoMimicEncoders.from_files(e.base, e.audio_encoder, network.config.variant, config.precision)
        pipeline = EchoMimicPipeline(Component.of(network, params), encoders)
        folder = sample_folder(workdir, step)
        folder.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            given = {"image": None} | job.given
            video = pipeline(audio=job.audio, prompt=job.prompt, sampling=job.sampling, **given)
            video.save(folder / Path(job.out).name)

    return sample


def finish(
    config: ConfigDict, network: Network, settings: TrainingSettings, workdir: Path, params: Params, step: int
) -> None:
    """The folder `workdir/model`, with the transformer under its public name: what sampling takes as `--model`."""
    write_transformer(workdir / "model", network.config, params)


def _check_unused(config: ConfigDict) -> None:
    """InputError for settings of ActAvatar alone."""
    m = config.model
    used = {f"model.{name}": m[name] for name in ("phase_time", "latent_rate", "frame_time", "gamma")}
    used |= {"adapter": config.adapter or None, "lora.rank": config.lora.rank or None}
    used["time_law.clean"] = None if config.time_law.clean == 1 else config.time_law.clean
    if stray := [name for name, value in used.items() if value is not None]:
        raise InputError(f"The setting {stray[0]} has no meaning for EchoMimicV3; leave it out.")
