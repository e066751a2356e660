"""Which units a keyframe of AvatarSync should see: every mask of the paper's appendix, and words, with every seed.

    python launch/avatarsync_ablation.py --workdir runs/masks --config.keyframes.training.steps=800 \\
        --config.keyframes.training.optim.decay=480

Only keyframe transformers are trained; the other parts are those of `--start`. Run again, it goes on where it stopped:
runs that have scores are skipped. WORKDIR/table.md compares them. Processes with `--part 1/2` and `--part 2/2` share
the runs, and the heads and tokens that these are trained on.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "avatarsync.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs and their table.", required=True)
START = flags.DEFINE_string("start", None, "Model folder with the other parts; the shipped one if it is not given.")
SEEDS = flags.DEFINE_integer("seeds", 3, "Of every row; two or more have intervals.", lower_bound=1)
PART = flags.DEFINE_string("part", "1/1", "2/3: every third run from the second on, for processes side by side.")
MINUTES = flags.DEFINE_float("minutes", 0.0, "End after so long: a training saves and exits with code 75; 0: go on.")


def main(argv: list[str]) -> None:
    from actavatar_jax.cli.sitting import run_sitting

    run_sitting(compare, MINUTES.value)


def compare() -> None:
    from actavatar_jax.puppets.avatarsync.ablation import run_ablation
    from actavatar_jax.puppets.avatarsync.demo import SHIPPED
    from actavatar_jax.puppets.avatarsync.settings import check_recipe

    check_recipe(CONFIG.value)
    start, workdir = Path(START.value or SHIPPED), Path(WORKDIR.value)
    print(run_ablation(CONFIG.value, start, workdir, SEEDS.value, PART.value))


if __name__ == "__main__":
    app.run(main)
