"""Trains and scores the rows of the ablation; launch command in configs/ablation.py.

Runs whose scores.json is there are skipped, trainings go on from their last checkpoint. The table goes to
WORKDIR/table.md, the scores of each run to WORKDIR/<row>/seed-<n>/scores.json.
"""

import logging
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # the config is built on another one, configs.puppets

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "ablation.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and their table.", required=True)
BASE = flags.DEFINE_string("base", "runs/puppets", "Workdir of launch/puppets.py: encoders, shards, backbone.")
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Only tell what would be run, and for how long.")
PART = flags.DEFINE_string("part", "1/1", "2/3: every third run from the second on, for processes side by side.")
RATE = flags.DEFINE_float("steps_per_second", 3.0, "Of a training here, for the forecast.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    logging.basicConfig(level=logging.INFO, handlers=[logging.StreamHandler(sys.stdout)])
    from actavatar_jax.errors import InputError
    from actavatar_jax.heap import keep_memory_of_steps
    from actavatar_jax.puppets import ablation
    from actavatar_jax.puppets.ablation.planning import read_part

    keep_memory_of_steps()
    config, workdir = CONFIG.value, Path(WORKDIR.value)
    try:
        part = read_part(PART.value)
        print(ablation.forecast(config, workdir, RATE.value), flush=True)
        if not DRY_RUN.value:
            ablation.run_ablation(config, Path(BASE.value), workdir, part)
            if part == (1, 1):
                print((workdir / "table.md").read_text())
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
