"""Compares rows of a small EchoMimicV3 on puppets; launch command in configs/echomimic_puppets.py.

Run again, it goes on where it stopped: runs whose scores.json is there are skipped, trainings go on from their last
checkpoint.
"""

import logging
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # the config is built on another one, configs.puppets

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "echomimic_puppets.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and their table.", required=True)
BASE = flags.DEFINE_string("base", None, "Workdir of a launch/puppets.py whose encoders of text and speech serve.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only tell what would be run.")
PART = flags.DEFINE_string("part", "1/1", "2/3: every third run from the second on, for processes side by side.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
    from actavatar_jax.cli.exits import run_command

    run_command(compare)


def compare() -> None:
    from actavatar_jax.heap import keep_memory_of_steps
    from actavatar_jax.puppets.ablation.planning import read_part
    from actavatar_jax.puppets.echomimic.rows import plan_runs
    from actavatar_jax.puppets.echomimic.runs import compare_rows

    keep_memory_of_steps()
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    for one in plan_runs(config):
        print(f"{one.name}/seed-{one.seed}{'  done' if one.done(workdir) else ''}", flush=True)
    if not DRY_RUN.value:
        compare_rows(config, Path(BASE.value) / "base" if BASE.value else None, workdir, read_part(PART.value))
        print((workdir / "table.md").read_text())


if __name__ == "__main__":
    app.run(main)
