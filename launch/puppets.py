"""The puppet world from nothing to scored weights; launch command in configs/puppets.py.

Every step is skipped where its result is there, and trainings go on from their last checkpoint. The result is
WORKDIR/stage2/model; `--ship` also puts it, in bfloat16, where `actavatar demo` finds it.
"""

import logging
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "puppets.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.", required=True)
SHIP = flags.DEFINE_bool("ship", False, "Make the result the model of `actavatar demo`.")


def main(argv: list[str]) -> None:
    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    from actavatar_jax import puppets
    from actavatar_jax.encoders import Encoders
    from actavatar_jax.pipeline import ActAvatarPipeline
    from data_pipelines.puppets.clips import World
    from data_pipelines.puppets.dataset import TEST_SEED

    config, workdir = CONFIG.value, Path(WORKDIR.value)
    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
    base, model = workdir / "base", workdir / "base"
    if not base.exists():
        puppets.make_base(config, base)
    puppets.make_data(config, base, workdir / "shards")
    for stage in puppets.STAGES:
        model = puppets.run_stage(config[stage], model, workdir / "shards", workdir / stage)

    world, items = World(**config.world), range(TEST_SEED, TEST_SEED + config.test_clips)
    reports = {"codec": puppets.ceiling(Encoders.from_folder(base), world, items)}
    reports["model"] = puppets.evaluate(ActAvatarPipeline.from_pretrained(model), world, items, config.sample.to_dict())
    for name, report in reports.items():
        print(f"\n{name}\n{report.table()}")
        puppets.save_report(report, workdir / f"scores_{name}.json")
    if SHIP.value:
        puppets.ship(model)


if __name__ == "__main__":
    app.run(main)
