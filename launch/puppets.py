"""The puppet world from nothing to scored weights; launch command in configs/puppets.py.

Run again, it goes on where it stopped: steps whose result is there are skipped, trainings go on from their last
checkpoint. On the way WORKDIR/sheets and WORKDIR/progress.jsonl show what unseen clips look like. The result is
WORKDIR/model; `--ship` also puts it, in bfloat16, where `actavatar demo` finds it. `--start` goes on from a model
folder, say the shipped one, where there are no checkpoints: its encoders and transformer stand for everything before
stage 2, and the decoder goes on from its own.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

ROOT = Path(__file__).resolve().parents[1]

STEPS = ("base", "data", "backbone", "stage1", "stage2", "decoder")

CONFIG = config_flags.DEFINE_config_file("config", str(ROOT / "configs" / "puppets.py"), "Config file.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.", required=True)
START = flags.DEFINE_string("start", None, "Model folder to train on from stage 2 on, with its encoders.")
UNTIL = flags.DEFINE_enum("until", "scores", (*STEPS, "scores"), "The last thing to do.")
MINUTES = flags.DEFINE_float("minutes", 0.0, "End after so long: a training saves and exits with code 75; 0: go on.")
SHIP = flags.DEFINE_bool("ship", False, "Make the result the model of `actavatar demo`.")


def main(argv: list[str]) -> None:
    from actavatar_jax.cli.sitting import run_sitting

    run_sitting(make, MINUTES.value)


def make() -> None:
    from actavatar_jax.pipeline import ActAvatarPipeline
    from actavatar_jax.puppets import recipe as puppets
    from actavatar_jax.puppets.dataset import TEST_SEED
    from actavatar_jax.puppets.settings import check_recipe
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.storage import write_json

    config, workdir = CONFIG.value, Path(WORKDIR.value)
    check_recipe(config)
    model = workdir / "base"
    for step in STEPS:
        if START.value and step in ("backbone", "stage1"):
            continue
        if step == "base" and not model.exists():
            if START.value:
                puppets.take_base(config, Path(START.value), model)
            else:
                puppets.make_base(config, model)
        elif step == "data":
            puppets.make_data(config, model, workdir / "shards")
        elif step in puppets.STAGES:
            model = puppets.run_stage(step, config, model, workdir)
        elif step == "decoder" and not config.vae:
            model = puppets.run_decoder(config, model, workdir, START.value and Path(START.value))
        if step == UNTIL.value:
            return

    world, items = World(**config.world), range(TEST_SEED, TEST_SEED + config.test_clips)
    pipeline = ActAvatarPipeline.from_pretrained(model)
    reports = {"codec": puppets.score_codec(pipeline.encoders, world, items)}
    reports["model"] = puppets.evaluate(pipeline, world, items)
    for name, report in reports.items():
        print(f"\n{name}\n{report.table()}")
        write_json(workdir / f"scores_{name}.json", report.to_dict())
    if SHIP.value:
        puppets.ship(model)


if __name__ == "__main__":
    app.run(main)
