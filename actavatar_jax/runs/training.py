"""One training run from its config: opens the model and the data, trains, and writes the model folder."""

import dataclasses
import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from actavatar_jax import functional
from actavatar_jax.encoders import Encoders, stored_fingerprint
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models.avatar import ActAvatarDiT, DiTConfig
from actavatar_jax.models.presets import ADAPTER, PRESETS
from actavatar_jax.parallel.batches import local_rows
from actavatar_jax.parallel.hosts import agreed
from actavatar_jax.parallel.mesh import make_mesh
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.runs.jobs import read_jobs, run_jobs
from actavatar_jax.storage.writing import replaced_folder
from actavatar_jax.training.loop import train
from actavatar_jax.training.optimizer import to_steps
from actavatar_jax.training.settings import chosen, transformer_config
from actavatar_jax.training.state import TrainState
from actavatar_jax.weights import folder as model_folder
from actavatar_jax.weights.components import find, is_wan_layout
from actavatar_jax.weights.folder import Component
from data_pipelines.loading import loader, stream, synthetic
from data_pipelines.shards import dataset as shards
from data_pipelines.shards.buckets import Bucket

# (config, options of a loader) -> (dataset of batches, examples in an epoch)
Sources = Mapping[str, Callable[..., tuple[Any, int]]]
NONE: Sources = {}
DURATIONS = ("steps", "log_every", "checkpoint_every", "sample.every", "optim.warmup", "optim.decay")


def run_training(
    config: ml_collections.ConfigDict,
    workdir: Path,
    watch: Callable[[Params, int], None] | None = None,
    sources: Sources = NONE,
) -> TrainState:
    """Trains as `config` (see `training/settings.py`) says; the result is the model folder `workdir/model`.

    Run again on the same `workdir`, it goes on from the last checkpoint. Sample videos of `config.sample` go to
    `workdir/samples/<steps done>`; `watch`, if given, is called in their place. `sources` are more kinds of data than
    shards and synthetic ones, by the names that `data.source` has for them. Raises InputError for settings that do
    not fit together, before anything large is read where that can be known.
    """
    with agreed():
        mesh = make_mesh(config.mesh)
        rows = local_rows(mesh, config.data.batch_size) if jax.process_count() > 1 else None
        model_config = open_config(config)
        batches, examples = open_data(config, model_config, rows, sources)
        config = in_steps(config, examples)
        sample = watch or make_sampler(config, model_config, workdir)

    def open_params() -> Params:
        check_encoders(config)
        return open_model(config)[1]

    return train(
        config,
        model_config,
        open_params,
        iter(batches),
        workdir,
        sample=sample,
        finish=lambda params, _: write_model(workdir / "model", config.model.folder, model_config, params),
    )


def make_sampler(
    config: ml_collections.ConfigDict, model_config: DiTConfig, workdir: Path
) -> Callable[[Params, int], None] | None:
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
        pipeline = ActAvatarPipeline(Component(ActAvatarDiT, model_config, params), encoders, defaults, mesh)
        folder = workdir / "samples" / f"{step:07d}"
        run_jobs(pipeline, [dataclasses.replace(job, out=str(folder / Path(job.out).name)) for job in jobs])

    return sample


def open_model(config: ml_collections.ConfigDict) -> tuple[DiTConfig, Params]:
    """The transformer to train: from a model folder, or a preset with random weights; the adapter from elsewhere."""
    model_config, folder = open_config(config), config.model.folder
    params = model_folder.load(folder, "transformer", dtype="float32").params if folder else {}
    params = complete(model_config, params, jax.random.key(config.seed))
    if config.adapter:
        params = with_adapter(
            params, model_folder.load(config.adapter, "transformer", dtype="float32").params, config.adapter
        )
    return model_config, params


def open_config(config: ml_collections.ConfigDict) -> DiTConfig:
    """The transformer's config; no weights are read."""
    m = config.model
    if bool(m.folder) == bool(m.preset):
        raise InputError("A run starts from model.folder or from model.preset: set one of the two.")
    if m.folder and is_wan_layout(Path(m.folder)):
        raise InputError(
            f"{m.folder} is in the original Wan layout; make a model folder: actavatar convert from-torch."
        )
    if m.preset and m.preset not in PRESETS:
        raise InputError(f'There is no preset "{m.preset}"; there are: {", ".join(PRESETS)}.')
    base = find(Path(m.folder), "transformer").config if m.folder else PRESETS[m.preset].transformer
    return transformer_config(config, base)


def complete(model_config: DiTConfig, params: Params, key: jax.Array) -> Params:
    """`params` with freshly drawn values for what is not there: everything of a preset, the helps of an old model."""
    flat = functional.flatten(params)
    wanted = functional.flatten(functional.abstract(ActAvatarDiT, model_config))
    if surplus := sorted(set(flat) - set(wanted)):
        raise InputError(f"The model folder has {', '.join(surplus)}, which config.model switches off.")

    # Compiled as a whole: parameters that nobody asks for are never drawn.
    @functools.partial(jax.jit, compiler_options=functional.RUN_ONCE)
    def fresh(key):
        drawn = functional.flatten(functional.init(ActAvatarDiT, model_config, key))
        return {name: drawn[name] for name in wanted if name not in flat}

    return functional.unflatten({**flat, **fresh(key)})


def with_adapter(params: Params, other: Params, source: str) -> Params:
    """`params` with the audio adapter of `other`."""
    flat = functional.flatten(params)
    own, adapter = functional.split(flat, ADAPTER)[0], functional.split(functional.flatten(other), ADAPTER)[0]
    shapes = [{name: leaf.shape for name, leaf in half.items()} for half in (own, adapter)]
    if shapes[0] != shapes[1]:
        name = min(n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n))
        raise InputError(
            f"The adapter of {source} does not fit the model: {name} is {shapes[1].get(name)} there and "
            f"{shapes[0].get(name)} here."
        )
    if not np.any(adapter["blocks/audio_attn/out/kernel"]):
        raise InputError(f"The adapter of {source} has never been trained; give the model folder that stage 1 wrote.")
    return functional.unflatten({**flat, **adapter})


def open_data(
    config: ml_collections.ConfigDict,
    model_config: DiTConfig,
    rows: Sequence[int] | None = None,
    sources: Sources = NONE,
) -> tuple[Any, int]:
    """(dataset of batches, examples in an epoch); its shapes are checked against the model.

    `rows` are the samples of each batch that this process loads (`parallel.batches.local_rows`); None: all.
    """
    d, m = config.data, model_config
    common = {"batch_size": d.batch_size, "seed": config.seed, "rows": rows}
    common |= {"text_len": m.text_len, "max_phases": m.max_phases}
    if d.source == "synthetic":
        height, width, frames = d.bucket
        source = synthetic.SyntheticSource(
            Bucket(height=height, width=width, frames=frames),
            channels=m.in_channels,
            text_dim=m.text_dim,
            audio_layers=m.audio.feature_layers,
            audio_dim=m.audio.feature_width,
        )
        return synthetic.make_synthetic_loader(source, **common), len(source)
    dropout = {"text_drop": d.text_drop, "audio_drop": d.audio_drop, "both_drop": d.both_drop}
    if d.source in sources:
        return sources[d.source](config, **common, **dropout)
    if d.source != "shards" or not d.dirs:
        raise InputError(
            f'data.source is "{d.source}" with data.dirs {list(d.dirs)}; give shards and folders, or one of '
            f"{', '.join(['synthetic', *sources])}."
        )
    batches = loader.make_loader(d.dirs, **common, **dropout, weights=_weights(d))
    _check_fit(next(iter(batches)), m)
    folders = shards.find_datasets([Path(folder) for folder in d.dirs])
    return batches, sum(len(shards.open_dataset(folder).source) for folder in folders)


def _weights(d: ml_collections.ConfigDict) -> dict[str, float | int] | None:
    if d.weights is None:
        return None
    if len(d.weights) != len(d.dirs) or not all(isinstance(weight, float | int) for weight in d.weights):
        raise InputError(
            f"data.weights is {d.weights}; give a positive number for each of the {len(d.dirs)} folders of data.dirs."
        )
    return dict(zip(d.dirs, d.weights, strict=True))


def check_encoders(config: ml_collections.ConfigDict) -> None:
    """InputError where shards were made by other encoders than the model folder's. All its files are read, once."""
    d, folder = config.data, config.model.folder
    if d.source == "shards" and folder and jax.process_index() == 0:
        loader.make_loader(d.dirs, batch_size=1, seed=0, fingerprint=stored_fingerprint(folder))


def _check_fit(batch: stream.Batch, m: DiTConfig) -> None:
    ours = (m.in_channels, m.text_dim, m.audio.feature_layers, m.audio.feature_width)
    theirs = (batch["latents"].shape[-1], batch["text"].shape[-1], *batch["audio"].shape[-2:])
    if ours != theirs:
        parts = "latent channels, text width, speech layers, speech width"
        raise InputError(f"The shards were made by other encoders than the model's: {parts} are {theirs}, not {ours}.")


def in_steps(config: ml_collections.ConfigDict, examples: int) -> ml_collections.ConfigDict:
    """A copy of the config with every duration as a number of steps."""
    config = config.copy_and_resolve_references()
    with config.ignore_type():
        for name in DURATIONS:
            *parents, leaf = name.split(".")
            section = config[parents[0]] if parents else config
            section[leaf] = to_steps(section[leaf], config.data.batch_size, examples)
    return config


def write_model(folder: Path, base: str, model_config: DiTConfig, params: Params) -> None:
    """The model folder: the trained transformer, and beside it the other parts of the folder the run started from.

    Over several processes each of them calls this, and the first one writes.
    """
    if jax.process_index() > 0:
        model_folder.save(folder, "transformer", model_config, params)  # only helps to collect the parameters
        return
    with replaced_folder(folder) as partial:
        model_folder.save(partial, "transformer", model_config, params)  # first, because the others wait for it
        if base:
            shutil.copytree(base, partial, ignore=shutil.ignore_patterns("transformer"), dirs_exist_ok=True)
        model_folder.save_index(partial, model_folder.load_defaults(base) if base else model_folder.Defaults())
