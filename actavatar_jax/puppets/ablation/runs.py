"""Trains and scores the runs of an ablation, each in a folder of its own, and skips what is there."""

import dataclasses
import itertools
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from actavatar_jax import functional
from actavatar_jax.diffusion import Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.models import ADAPTER
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.ablation.data import alone_in, shards_for
from actavatar_jax.puppets.ablation.planning import Run, part_of, plan_runs, stages_of, steps
from actavatar_jax.puppets.ablation.results import table
from actavatar_jax.puppets.world.clips import World, find_cues
from actavatar_jax.runs.exporting import write_model
from actavatar_jax.runs.settings import chosen
from actavatar_jax.storage import plain, read_json, read_json_lines, write_json, write_text
from actavatar_jax.weights import draw_leaves
from actavatar_jax.weights import folder as folders
from data_pipelines.shards import find_datasets, open_dataset

log = logging.getLogger(__name__)


def run_ablation(config: ConfigDict, base: Path, workdir: Path, part: tuple[int, int] = (1, 1)) -> None:
    """Trains and scores what is not there yet; `workdir/table.md` is written anew after every run.

    Args:
      base: workdir of `launch/puppets.py`; its encoders, shards and backbone (one, of one seed) serve all runs.
      part: which of how many processes this is that share the runs; only one that has them all writes the table.

    Raises:
      InputError: unknown groups, a base that is not there or of other settings, runs made with other settings.
    """
    runs = part_of(plan_runs(config), *part)
    check_base(config, base, any(not one.row.frame_time for one in runs))
    for number, one in enumerate(runs, start=1):
        log.info("run %d of %d: %s, seed %d", number, len(runs), one.name, one.seed)
        score(config, one, base, workdir)
        if part == (1, 1):
            write_text(workdir / "table.md", table(config, workdir))
        jax.clear_caches()  # no two rows share a compiled step


# ---- one run


def score(config: ConfigDict, one: Run, base: Path, workdir: Path) -> None:
    """Trains the run's model, samples the test clips and writes `scores.json`; nothing where that is there."""
    folder, stages = one.folder(workdir), stages_of(config, one)
    scoring = {name: config[name] for name in ("world", "test_clips", "sample")}
    keep_settings(folder, scoring | stages | {"row": dataclasses.asdict(one.row)})
    if one.done(workdir):
        return
    if one.row.model_of:
        model = one.trained.folder(workdir) / one.trained.row.stages[-1] / "model"
    else:
        backbone = base / "backbone" / "model"
        if not one.row.frame_time:
            backbone = without_frame_time(config, base, workdir)
        start = copy_with_fresh_leaves(backbone, folder / "start", ADAPTER, one.seed)
        model = train(config, stages, start, base, folder, workdir)
    grid = one.row.grid or config.world.grid
    world, sampling = World(**{**config.world, "grid": grid}), Sampling(**chosen(config.sample)).changed(seed=one.seed)
    seeds = clip_seeds(world, config.test_clips, one.row.cues)
    report = puppets.evaluate(ActAvatarPipeline.from_pretrained(model), world, seeds, sampling, one.row.wording)
    write_json(folder / "scores.json", report.to_dict())
    for spent in (folder / "start", *(folder / stage / "checkpoints" for stage in stages)):
        shutil.rmtree(spent, ignore_errors=True)


def train(
    config: ConfigDict, stages: Mapping[str, ConfigDict], start: Path, base: Path, folder: Path, workdir: Path
) -> Path:
    """Trainings one after the other from the model folder `start`; the last one's model folder."""
    for stage, settings in stages.items():
        if not (folder / stage / "model").is_dir():
            data = shards_for(config, settings, start, base, workdir)
            puppets.train_stage(settings, start, data, folder / stage)
        start = folder / stage / "model"
    return start


def without_frame_time(config: ConfigDict, base: Path, workdir: Path) -> Path:
    """A backbone trained as the base's was, but for the frame time; one for all rows and seeds that want it."""
    folder = workdir / "backbone-no-frame-time"
    with alone_in(folder):
        keep_settings(folder, {"backbone": config.backbone})
        start = copy_with_fresh_leaves(base / "base", folder / "start", "frame_time/.*", frame_time=False)
        return train(config, {"backbone": config.backbone}, start, base, folder, workdir)


def copy_with_fresh_leaves(source: Path, target: Path, leaves: str, seed: int = 0, **changes: Any) -> Path:
    """`target`: the model folder `source` with `changes` of the transformer's config and, where that still has them,
    fresh values for the parameters that match the regex `leaves`."""
    if not target.is_dir():
        stored = folders.load(source, "transformer", dtype="float32")
        kept = functional.split(functional.flatten(stored.params), leaves)[1]
        network = Network(stored.module, dataclasses.replace(stored.config, **changes))
        wanted = functional.flatten(functional.abstract(network.module, network.config))
        fresh = draw_leaves(network, wanted.keys() - kept.keys(), seed)
        write_model(target, str(source), network.config, functional.unflatten(kept | fresh))
    return target


def clip_seeds(world: World, count: int, cues: int | None) -> list[int]:
    """The first `count` test clips, or the first that have `cues` phases."""
    seeds = range(dataset.TEST_SEED, dataset.TRAIN_SEEDS.start)
    if cues is not None:
        seeds = (seed for seed in seeds if len(find_cues(seed, world)) == cues)
    found = list(itertools.islice(seeds, count))
    if len(found) < count:
        raise InputError(
            f"Of the test clips of {world} only {len(found)} have {cues} phases; {count} are to be scored."
        )
    return found


def keep_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Writes `settings.json`; InputError where the folder has results of other settings."""
    values = {name: value.to_dict() if isinstance(value, ConfigDict) else value for name, value in settings.items()}
    now, place = plain(values), folder / "settings.json"
    if not place.is_file():
        return write_json(place, now)
    then = read_json(place)
    if differing := sorted(name for name in {*then, *now} if then.get(name) != now.get(name)):
        raise InputError(
            f"{folder} was made with other settings of {', '.join(differing)}; give the same or another workdir."
        )


def check_base(config: ConfigDict, base: Path, own_backbone: bool) -> None:
    """InputError unless `base` holds what the runs share, made with this world and this backbone's settings."""
    if not (base / "backbone" / "model").is_dir():
        raise InputError(f"{base} has no trained backbone; make it: python launch/puppets.py --workdir {base}.")
    if not config.fresh:
        world = repr(World(**config.world))
        for place in find_datasets([base / "shards" / wording for wording in ("global", "structured")]):
            if (theirs := open_dataset(place).metadata.get("world")) != world:
                raise InputError(f"The clips in {place} are of {theirs}, the ablation's are of {world}.")
    log_file = base / "backbone" / "metrics.jsonl"
    if own_backbone and log_file.is_file():  # a backbone that was carried here may have come without
        *_, (_, last) = read_json_lines(log_file)
        done, wanted = last["step"], steps(config, config.backbone)
        if done != wanted:
            raise InputError(
                f"The backbone of {base} was trained for {done} steps and the one without frame time would be for "
                f"{wanted}; give --config.backbone.steps={done}."
            )
