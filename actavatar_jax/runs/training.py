"""One training run from its config: opens the model and the data, trains, and writes the model folder."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import ml_collections
from jax.sharding import Mesh

from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.parallel import agreed, check_fit, local_rows, make_mesh
from actavatar_jax.runs.opening import Places
from actavatar_jax.runs.resolve import check_names, in_steps, may_change, preference_settings, training_settings
from actavatar_jax.runs.sample_scores import with_scores
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.systems import system_of
from actavatar_jax.storage import check_on_disk, open_place
from actavatar_jax.training.best import Best
from actavatar_jax.training.course import Visit
from actavatar_jax.training.loop import train
from actavatar_jax.training.preference import Alternating
from actavatar_jax.training.settings import CONTENTS
from actavatar_jax.training.state import TrainState
from data_pipelines.loading import (
    HALVES,
    FixedBatches,
    make_loader,
    make_pair_loader,
    make_synthetic_loader,
)
from data_pipelines.shards import find_datasets, identify_datasets, open_dataset

# (config, options of a loader) -> (dataset of batches, examples in an epoch)
Sources = Mapping[str, Callable[..., tuple[Any, int]]]
NONE: Sources = {}


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
        check_on_disk(workdir)
        check_names(config)
        check_values(config)
        mesh = make_mesh(config.mesh)
        rows = local_rows(mesh, config.data.batch_size) if jax.process_count() > 1 else None
        system = system_of(config)
        network = system.open_network(config)
        batches, examples = open_data(config, network.config, rows, sources)
        config = in_steps(config, examples)
        settings = training_settings(config)
        heldout = open_heldout(config, network.config, mesh)
        described = config.to_dict() | identify_data(config)
        sample = watch or open_sampler(config, network, workdir)

    def open_weights(wanted: Collection[str], places: Places) -> dict[str, Any]:
        check_encoders(config)
        return system.open_weights(config, network, settings, wanted, places)

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
        best=open_best(config, functools.partial(system.finish, config, network, settings, workdir / "best"), workdir),
        finish=functools.partial(system.finish, config, network, settings, workdir),
    )


def open_best(config: ml_collections.ConfigDict, save: Visit, workdir: Path) -> Best | None:
    """Keeps the best model by `config.best` in `workdir/best`; InputError for a figure that nothing tells."""
    if not config.best:
        return None
    h, of_heldout = config.heldout, config.best.startswith("heldout")
    if not (h.dirs and h.every if of_heldout else config.sample.syncnet):
        what = "heldout.dirs and heldout.every" if of_heldout else "sample.syncnet"
        raise InputError(f"The setting best is {config.best}, which nothing tells; set {what}, or leave it empty.")
    if config.best == "heldout/ema_loss" and not config.optim.ema_decay:
        raise InputError(f"The setting best is {config.best}, and weights are not averaged; set optim.ema_decay.")
    return Best(config.best, workdir / "best" / "best.json", save)


def open_sampler(config: ml_collections.ConfigDict, network: Network, workdir: Path) -> Visit | None:
    """Makes the videos of `config.sample`, and scores them where it names networks for that; None where it asks for no
    videos."""
    sample, models = system_of(config).make_sampler(config, network, workdir), config.sample.syncnet
    if not models:
        return sample
    if sample is None:
        raise InputError("sample.syncnet is of sample videos, and none are made; set sample.every, or leave it empty.")
    return with_scores(sample, Path(models), workdir)


def open_data(
    config: ml_collections.ConfigDict,
    model_config: Any,
    rows: Sequence[int] | None = None,
    sources: Sources = NONE,
) -> tuple[Any, int]:
    """(dataset of batches, examples in an epoch); its shapes are checked against the model.

    `rows` are the samples of each batch that this process loads (`parallel.batches.local_rows`); None: all.
    """
    d, system = config.data, system_of(config)
    common = {"batch_size": d.batch_size, "seed": config.seed, "rows": rows, **system.loading(config, model_config)}
    if d.source == "synthetic":
        source = system.synthetic(config, model_config)
        common.pop("anchors")
        return make_synthetic_loader(source, **common), len(source)
    dropout = {"text_drop": d.text_drop, "audio_drop": d.audio_drop, "both_drop": d.both_drop}
    if d.source in sources:
        return sources[d.source](config, **common, **dropout)
    if d.source != "shards" or not d.dirs:
        raise InputError(
            f'data.source is "{d.source}" with data.dirs {list(d.dirs)}; give shards and folders, or one of '
            f"{', '.join(['synthetic', *sources])}."
        )
    batches = make_loader(d.dirs, **common, **dropout, weights=_weights(d))
    system.check_batch(next(iter(batches)), model_config)
    folders = find_datasets(d.dirs)
    return batches, sum(len(open_dataset(folder).source) for folder in folders)


def open_heldout(config: ml_collections.ConfigDict, model_config: Any, mesh: Mesh) -> FixedBatches | None:
    """The clips of `config.heldout`, as many at once as in a micro-batch of the training; None where it names none."""
    h, size = config.heldout, max(config.data.batch_size // config.micro_batches, 1)
    if not h.dirs:
        return None
    trained = {identify_datasets(folder) for folder in find_datasets(config.data.dirs)}
    held = find_datasets(h.dirs)
    if shared := [folder for folder in held if identify_datasets(folder) in trained]:  # or a copy of it
        raise InputError(f"{shared[0]} is in data.dirs and in heldout.dirs; hold out clips that are not trained on.")
    rows = local_rows(mesh, size) if jax.process_count() > 1 else None
    system = system_of(config)
    form = system.loading(config, model_config)
    batches = FixedBatches(h.dirs, clips=h.clips, batch_size=size, rows=rows, **form)
    system.check_batch(next(iter(batches)), model_config)
    for grid in batches.grids:
        check_fit(mesh, model_config.heads, batch=size, grid=grid)
    return batches


def with_pairs(config: ml_collections.ConfigDict, batches: Any, model_config: Any, mesh: Mesh) -> grain.DatasetIterator:
    """The batches of a run, with those of the pairs of `config.preference` among them where it names any."""
    p = config.preference
    if not p.folder:
        return batches
    rows = local_rows(mesh, p.batch_size) if jax.process_count() > 1 else None
    system, regions = system_of(config), preference_settings(config).regions
    form = system.loading(config, model_config) | {"regions": regions}
    pairs = make_pair_loader(p.folder, batch_size=p.batch_size, seed=config.seed, rows=rows, **form)
    system.check_batch(next(iter(pairs)), model_config)
    return Alternating(batches, iter(pairs), p.every)


def identify_data(config: ml_collections.ConfigDict) -> dict[str, list[str]]:
    """What the folders of encoded clips hold, by the setting that names them: a run goes on with the same data only,
    which may lie elsewhere."""
    d, pairs = config.data, config.preference.folder
    folders = {"data.dirs": d.dirs if d.source == "shards" else (), "heldout.dirs": config.heldout.dirs}
    folders["preference.folder"] = [open_place(pairs) / half for half in HALVES] if pairs else ()
    return {
        f"{CONTENTS}{name}": [identify_datasets(folder) for folder in named] for name, named in folders.items() if named
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
    """InputError where shards were made by other encoders than the model's."""
    d, system = config.data, system_of(config)
    dirs = [*(d.dirs if d.source == "shards" else ()), *config.heldout.dirs]
    dirs += [open_place(config.preference.folder) / half for half in HALVES] if config.preference.folder else []
    if dirs and jax.process_index() == 0 and (fingerprint := system.fingerprint(config)):
        make_loader(dirs, batch_size=1, seed=0, fingerprint=fingerprint, tasks=system.tasks(config))
