"""Trains one stage: `python launch/train.py --config configs/stage1.py --workdir runs/stage1`.

Started again with the same arguments, it goes on from the last checkpoint. Any setting can be changed on the command
line: `--config.optim.learning_rate=1e-5`. The result is the model folder `WORKDIR/model`.
"""

import sys
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with its argument: FILE.py[:ARG].")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run: checkpoints, logs, and in the end the model.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    logging.set_verbosity(logging.WARNING)  # Orbax tells of every step it takes
    from actavatar_jax import experiment
    from actavatar_jax.errors import InputError

    try:
        experiment.run(CONFIG.value, Path(WORKDIR.value))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
