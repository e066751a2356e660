"""A small EchoMimic on puppets from nothing to scores: parts, clips, the backbone, and every row with every seed.

WORKDIR/base                          the frozen parts
       /shards/bare/part-<n>          clips with their tasks
       /start, /backbone/model        a transformer that hears nothing, before and after its training
       /<row>/seed-<n>/model          of `rows.ROWS`
                      /scores.json    and what it took: costs.json
       /table.md
"""

import functools
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from actavatar_jax.echomimic import DEFAULTS, EchoMimicEncoders, EchoMimicSampling
from actavatar_jax.puppets import dataset
from actavatar_jax.puppets import recipe as puppets
from actavatar_jax.puppets.ablation.data import alone_in
from actavatar_jax.puppets.ablation.planning import part_of
from actavatar_jax.puppets.ablation.runs import keep_settings
from actavatar_jax.puppets.echomimic.costs import counted
from actavatar_jax.puppets.echomimic.pairs import make_puppet_pairs
from actavatar_jax.puppets.echomimic.parts import VARIANT, make_base, open_encoders, open_pipeline, write_start
from actavatar_jax.puppets.echomimic.rows import Run, plan_runs, settings_of
from actavatar_jax.puppets.echomimic.scores import evaluate
from actavatar_jax.puppets.echomimic.table import table
from actavatar_jax.puppets.world.clips import PuppetClip, World
from actavatar_jax.runs import training
from actavatar_jax.storage import write_json, write_text

TEXTS = "bare"  # of `dataset.TEXTS`: EchoMimicV3's have no anchors

log = logging.getLogger(__name__)


def compare_rows(config: ConfigDict, start: Path | None, workdir: Path, part: tuple[int, int] = (1, 1)) -> None:
    """Trains and scores what is not there yet; `workdir/table.md` is written anew after every run.

    Args:
      config: of `configs/echomimic_puppets.py`.
      start: model folder of other puppets, whose text and speech encoders serve; None: all parts are made.
      workdir: of the runs.
      part: which of how many processes this is that share the runs.

    Raises:
      InputError: unknown rows, a `start` of another world, runs made with other settings.
    """
    mine = part_of(plan_runs(config), *part)
    sampling = sampling_of(config)
    with alone_in(workdir):
        make_backbone(config, start, workdir)
    encoders = open_encoders(config, workdir / "base")
    clips = functools.cache(lambda: puppets.draw_clips(World(**config.world), test_seeds(config)))
    for number, one in enumerate(mine, start=1):
        log.info("run %d of %d: %s, seed %d", number, len(mine), one.name, one.seed)
        if not one.done(workdir):
            make_run(config, one, workdir, encoders, sampling, clips())
        write_text(workdir / "table.md", table(config, workdir))
        jax.clear_caches()  # of programs that no other run shares


def make_backbone(config: ConfigDict, start: Path | None, workdir: Path) -> None:
    """All that the runs share."""
    with counted(workdir, "base"):
        make_base(config, workdir / "base", start)
    with counted(workdir, "clips"):
        seeds, encoders = dataset.TRAIN_SEEDS[: config.clips], open_encoders(config, workdir / "base")
        dataset.write_shards(workdir / "shards", encoders, World(**config.world), seeds, (TEXTS,))
    with counted(workdir, "backbone"):
        keep_settings(workdir / "backbone", {"backbone": config.backbone})
        train(config.backbone, write_start(config, workdir / "base", workdir / "start"), workdir, workdir / "backbone")


def make_run(
    config: ConfigDict,
    one: Run,
    workdir: Path,
    encoders: EchoMimicEncoders,
    sampling: EchoMimicSampling,
    clips: Sequence[PuppetClip],
) -> None:
    """One run's model and its scores."""
    folder, settings = one.folder(workdir), settings_of(config, one)
    scoring = {name: config[name] for name in ("world", "test_clips", "sample", "pairs")}
    keep_settings(folder, scoring | {"training": settings})
    start = (one.trained.folder(workdir) if one.row.after else workdir / "backbone") / "model"
    if one.row.stage == "preferred":
        with counted(folder, "pairs"):
            settings.preference.folder = str(prefer(config, one, start, folder, encoders, sampling))
    with counted(folder, "training"):
        model = train(settings, start, workdir, folder)
    with counted(folder, "scores"):
        report = evaluate(open_pipeline(encoders, model), clips, sampling.changed(seed=one.seed), folder)
    write_json(folder / "scores.json", report.to_dict())
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def prefer(
    config: ConfigDict,
    one: Run,
    model: Path,
    folder: Path,
    encoders: EchoMimicEncoders,
    sampling: EchoMimicSampling,
) -> Path:
    """The folder of pairs of what the model makes of clips that none was trained on, others for every seed."""
    p, pairs = config.pairs, folder / "pairs"
    if not (pairs / "rejected").is_dir():  # written last
        seeds = dataset.DECODER_SEEDS[p.clips * (one.seed - 1) : p.clips * one.seed]
        clips, pipeline = puppets.draw_clips(World(**config.world), seeds), open_pipeline(encoders, model)
        make_puppet_pairs(pipeline, clips, sampling.changed(seed=1000 * one.seed), folder, p.seeds)
    return pairs


def train(settings: ConfigDict, start: Path, workdir: Path, folder: Path) -> Path:
    """The training of `settings` from the transformer in `start`; the folder of its result."""
    if not (folder / "model").is_dir():
        settings = settings.copy_and_resolve_references()
        settings.model.folder, settings.data.dirs = str(start), (str(workdir / "shards" / TEXTS),)
        training.run_training(settings, folder)
    return folder / "model"


def sampling_of(config: ConfigDict) -> EchoMimicSampling:
    """How all clips are sampled."""
    side = config.world.side
    return DEFAULTS[VARIANT].changed(**config.sample, height=side, width=side)


def test_seeds(config: ConfigDict) -> range:
    return range(dataset.TEST_SEED, dataset.TEST_SEED + config.test_clips)
