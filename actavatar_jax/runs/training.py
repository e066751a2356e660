"""One training run from its config: opens the model and the data, trains, and writes the model folder."""

import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import ml_collections
from jax.sharding import Mesh

from actavatar_jax import functional
from actavatar_jax.encoders import Encoders, stored_fingerprint
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.media.clock import FPS
from actavatar_jax.models.avatar import DiTConfig
from actavatar_jax.parallel import agreed, check_fit, local_rows, make_mesh
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.prompt.forms import has_anchors
from actavatar_jax.runs.exporting import write_model
from actavatar_jax.runs.jobs import read_jobs, run_jobs
from actavatar_jax.runs.opening import Places, open_network, open_params
from actavatar_jax.runs.resolve import check_names, in_steps, may_change, training_settings
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.settings import chosen
from actavatar_jax.training.groups import backbone_is_frozen, multipliers, trains_adapter_alone
from actavatar_jax.training.loop import train
from actavatar_jax.training.preference import Alternating
from actavatar_jax.training.settings import CONTENTS, TrainingSettings
from actavatar_jax.training.state import TrainState
from actavatar_jax.weights import TRAINED, Component, find, lora, never_trained, write_adapter
from actavatar_jax.weights import folder as model_folder
from data_pipelines.loading import (
    HALVES,
    Batch,
    FixedBatches,
    SyntheticSource,
    make_loader,
    make_pair_loader,
    make_synthetic_loader,
)
from data_pipelines.shards import Bucket, find_datasets, identify_datasets, open_dataset

# (config, options of a loader) -> (dataset of batches, examples in an epoch)
Sources = Mapping[str, Callable[..., tuple[Any, int]]]
NONE: Sources = {}

log = logging.getLogger(__name__)


def run_training(
    config: ml_collections.ConfigDict,
    workdir: Path,
    watch: Callable[[Params, int], None] | None = None,
    sources: Sources = NONE,
) -> TrainState:
    """Trains as `config` (see `runs/settings.py`) says; the result is the model folder `workdir/model`, of a
    run that trains the audio adapter alone `workdir/adapter.safetensors`, and of LoRA `workdir/lora.safetensors`.

    Run again on the same `workdir`, it goes on from the last checkpoint. Sample videos of `config.sample` go to
    `workdir/samples/<steps done>`; `watch`, if given, is called in their place. `sources` are more kinds of data than
    shards and synthetic ones, by the names that `data.source` has for them. Raises InputError for settings that do
    not fit together, before anything large is read where that can be known.
    """
    with agreed():
        check_names(config)
        check_values(config)
        mesh = make_mesh(config.mesh)
        rows = local_rows(mesh, config.data.batch_size) if jax.process_count() > 1 else None
        network = open_network(config)
        batches, examples = open_data(config, network.config, rows, sources)
        config = in_steps(config, examples)
        settings = training_settings(config)
        heldout = open_heldout(config, network.config, mesh)
        described = config.to_dict() | identify_data(config)
        sample = watch or make_sampler(config, network, workdir)

    def open_weights(wanted: Collection[str], places: Places) -> dict[str, Any]:
        check_encoders(config)
        leaves = open_params(config, network, wanted, places)
        if config.model.folder and _learns_with_backbone(network, settings) and never_trained(leaves):
            log.warning("The audio adapter has never been trained; give that of stage 1 as config.adapter.")
        return leaves

    def finish(params: Params, step: int) -> None:
        if settings.lora:
            lora.write(workdir / "lora.safetensors", params, network.config)
        elif trains_adapter_alone(functional.abstract(network.module, network.config), settings.rules):
            about = {"base": config.model.folder or config.model.preset, "step": step}
            about["settings"] = config.to_dict()
            write_adapter(workdir / "adapter.safetensors", params, network.config, **about)
        else:
            write_model(workdir / "model", config.model.folder, network.config, params)

    return train(
        settings,
        network,
        open_weights,
        with_pairs(config, iter(batches), network.config, mesh),
        workdir,
        described=described,
        may_change=may_change(config),
        heldout=heldout,
        sample=sample,
        finish=finish,
    )


def _learns_with_backbone(network: Network, settings: TrainingSettings) -> bool:
    """Whether the audio adapter and the backbone learn together, as in stage 2."""
    if settings.lora:
        return False
    speeds = multipliers(functional.abstract(network.module, network.config), settings.rules)
    return speeds[TRAINED] is not None and not backbone_is_frozen(speeds)


def make_sampler(
    config: ml_collections.ConfigDict, network: Network, workdir: Path
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
        pipeline = ActAvatarPipeline(Component.of(network, params), encoders, defaults, mesh)
        folder = workdir / "samples" / f"{step:07d}"
        here = [dataclasses.replace(job, out=str(folder / Path(job.out).name)) for job in jobs]
        run_jobs(pipeline, here, stall_minutes=config.stall_minutes)

    return sample


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
    if m.rate != FPS:
        raise InputError(
            f"Clips have {FPS} frames a second, and the model was made for {m.rate}; set model.latent_rate to "
            f"{FPS / 4:g} to train it for {FPS}."
        )
    common = {"batch_size": d.batch_size, "seed": config.seed, "rows": rows}
    common |= {"text_len": m.text_len, "max_phases": m.max_phases}
    if d.source == "synthetic":
        height, width, frames = d.bucket
        source = SyntheticSource(
            Bucket(height=height, width=width, frames=frames),
            channels=m.in_channels,
            text_dim=m.text_dim,
            audio_layers=m.audio.feature_layers,
            audio_dim=m.audio.feature_width,
        )
        return make_synthetic_loader(source, **common), len(source)
    common["anchors"] = has_anchors(m.phase_time)
    dropout = {"text_drop": d.text_drop, "audio_drop": d.audio_drop, "both_drop": d.both_drop}
    if d.source in sources:
        return sources[d.source](config, **common, **dropout)
    if d.source != "shards" or not d.dirs:
        raise InputError(
            f'data.source is "{d.source}" with data.dirs {list(d.dirs)}; give shards and folders, or one of '
            f"{', '.join(['synthetic', *sources])}."
        )
    batches = make_loader(d.dirs, **common, **dropout, weights=_weights(d))
    _check_fit(next(iter(batches)), m)
    folders = find_datasets([Path(folder) for folder in d.dirs])
    return batches, sum(len(open_dataset(folder).source) for folder in folders)


def open_heldout(config: ml_collections.ConfigDict, model_config: DiTConfig, mesh: Mesh) -> FixedBatches | None:
    """The clips of `config.heldout`, as many at once as in a micro-batch of the training; None where it names none."""
    h, size = config.heldout, max(config.data.batch_size // config.micro_batches, 1)
    if not h.dirs:
        return None
    trained = {identify_datasets(folder) for folder in find_datasets([Path(folder) for folder in config.data.dirs])}
    held = find_datasets([Path(folder) for folder in h.dirs])
    if shared := [folder for folder in held if identify_datasets(folder) in trained]:  # or a copy of it
        raise InputError(f"{shared[0]} is in data.dirs and in heldout.dirs; hold out clips that are not trained on.")
    rows = local_rows(mesh, size) if jax.process_count() > 1 else None
    form = {"text_len": model_config.text_len, "max_phases": model_config.max_phases}
    form["anchors"] = has_anchors(model_config.phase_time)
    batches = FixedBatches(h.dirs, clips=h.clips, batch_size=size, rows=rows, **form)
    _check_fit(next(iter(batches)), model_config)
    for grid in batches.grids:
        check_fit(mesh, model_config.heads, batch=size, grid=grid)
    return batches


def with_pairs(
    config: ml_collections.ConfigDict, batches: Any, model_config: DiTConfig, mesh: Mesh
) -> grain.DatasetIterator:
    """The batches of a run, with those of the pairs of `config.preference` among them where it names any."""
    p = config.preference
    if not p.folder:
        return batches
    rows = local_rows(mesh, p.batch_size) if jax.process_count() > 1 else None
    form = {"text_len": model_config.text_len, "max_phases": model_config.max_phases}
    form["anchors"] = has_anchors(model_config.phase_time)
    pairs = make_pair_loader(p.folder, batch_size=p.batch_size, seed=config.seed, rows=rows, **form)
    _check_fit(next(iter(pairs)), model_config)
    return Alternating(batches, iter(pairs), p.every)


def identify_data(config: ml_collections.ConfigDict) -> dict[str, list[str]]:
    """What the folders of encoded clips hold, by the setting that names them: a run goes on with the same data only,
    which may lie elsewhere."""
    d, pairs = config.data, config.preference.folder
    folders = {"data.dirs": d.dirs if d.source == "shards" else (), "heldout.dirs": config.heldout.dirs}
    folders["preference.folder"] = [Path(pairs) / half for half in HALVES] if pairs else ()
    return {
        f"{CONTENTS}{name}": [identify_datasets(Path(folder)) for folder in named]
        for name, named in folders.items()
        if named
    }


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
    dirs = [*(d.dirs if d.source == "shards" else ()), *config.heldout.dirs]
    dirs += [Path(config.preference.folder) / half for half in HALVES] if config.preference.folder else []
    if dirs and folder and jax.process_index() == 0:
        make_loader(dirs, batch_size=1, seed=0, fingerprint=stored_fingerprint(folder))


def _check_fit(batch: Batch, m: DiTConfig) -> None:
    ours = (m.in_channels, m.text_dim, m.audio.feature_layers, m.audio.feature_width)
    theirs = (batch["latents"].shape[-1], batch["text"].shape[-1], *batch["audio"].shape[-2:])
    if ours != theirs:
        parts = "latent channels, text width, speech layers, speech width"
        raise InputError(f"The shards were made by other encoders than the model's: {parts} are {theirs}, not {ours}.")
