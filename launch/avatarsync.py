"""AvatarSync on puppets from nothing to a model folder and scores; launch command in configs/avatarsync.py.

Run again, it goes on where it stopped: heads that are drawn are kept, parts that are trained are not trained anew, and
trainings go on from their last checkpoint, bit for bit. On the way WORKDIR/sheets, WORKDIR/progress.jsonl and
WORKDIR/progress.png show what unseen heads look like. The result is WORKDIR/model, for `actavatar avatarsync sample`;
`--ship` also puts it, in bfloat16, where `actavatar demo --system avatarsync` finds it. With `--start` trainings go on
from the parts of a model folder, say the shipped one; those of `--keep` stay as they are.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "avatarsync.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.", required=True)
UNTIL = flags.DEFINE_enum(
    "until", "scores", ("heads", "tokenizer", "keyframes", "interpolator", "scores"), "The last thing to do."
)
START = flags.DEFINE_string("start", None, "Model folder whose parts trainings go on from.")
KEEP = flags.DEFINE_list("keep", [], "Parts of --start that are taken as they are: tokenizer, keyframes, interpolator.")
SHIP = flags.DEFINE_bool("ship", False, "Make the result the model of `actavatar demo --system avatarsync`.")
MINUTES = flags.DEFINE_float("minutes", 0.0, "End after so long: a training saves and exits with code 75; 0: go on.")


def main(argv: list[str]) -> None:
    from actavatar_jax.cli.sitting import run_sitting

    run_sitting(make, MINUTES.value)


def make() -> None:
    from actavatar_jax.puppets.avatarsync.recipe import Run, make_model, ship
    from actavatar_jax.puppets.avatarsync.scores import table, to_json
    from actavatar_jax.puppets.avatarsync.settings import check_parts, check_recipe
    from actavatar_jax.storage import write_json

    config, workdir = CONFIG.value, Path(WORKDIR.value)
    check_recipe(config)
    run = Run(config, workdir, START.value and Path(START.value))
    scores = make_model(run, UNTIL.value, check_parts(KEEP.value))
    if scores:
        print(table(scores))
        write_json(workdir / "scores.json", to_json(scores))
        if SHIP.value:
            ship(workdir / "model")


if __name__ == "__main__":
    app.run(main)
