"""Trains the judge of puppet clips and puts it to the test: `python launch/train_judge.py --workdir runs/judge`.

About ten minutes on two CPU cores. The judge is `WORKDIR/judge`; copied to `actavatar_jax/puppets/assets/judge` it is
the one that ships. Its scores on unseen clips, and on the same clips spoilt on purpose, are printed and stored in
`WORKDIR/scores.json`; losses go to `WORKDIR/metrics.jsonl`.
"""

import os
import sys
from pathlib import Path

from absl import app, flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the network is too small to gain from an accelerator

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run.", required=True)
STEPS = flags.DEFINE_integer("steps", 1600, "Training steps.")
SIDE = flags.DEFINE_integer("side", 64, "Pixels along each side of the clips drawn for it; 64 or more.")
CLIPS = flags.DEFINE_integer("clips", 64, "Unseen clips to score it on.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    from actavatar_jax.errors import InputError
    from actavatar_jax.puppets.dataset import draw
    from actavatar_jax.puppets.judge import load_judge, save_judge
    from actavatar_jax.puppets.judge.examples import JUDGE_SEEDS, controls, puppet_examples
    from actavatar_jax.puppets.judge.training import Settings, train_judge
    from actavatar_jax.puppets.world.actions import ACTIONS
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.storage import write_json
    from actavatar_jax.training.runtime.metrics import JsonLines

    workdir, world = Path(WORKDIR.value), World(side=SIDE.value)
    workdir.mkdir(parents=True, exist_ok=True)
    training, unseen = JUDGE_SEEDS[: -CLIPS.value], JUDGE_SEEDS[-CLIPS.value :]
    try:
        write = JsonLines(workdir / "metrics.jsonl", resumed_at=0)
        config, params = train_judge(
            tuple(ACTIONS), puppet_examples(world, training), Settings(steps=STEPS.value), write
        )
    except InputError as error:
        sys.exit(f"error: {error}")
    save_judge(workdir / "judge", config, params)

    reports = controls(load_judge(workdir / "judge"), list(draw(world, unseen)))
    for name, report in reports.items():
        print(f"{name}\n{report.table()}\n")
    scores = {name: report.to_dict() for name, report in reports.items()}
    write_json(workdir / "scores.json", scores)


if __name__ == "__main__":
    app.run(main)
