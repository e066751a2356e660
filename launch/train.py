"""Trains one stage: `python launch/train.py --config configs/stage1.py --workdir runs/stage1`.

Started again with the same arguments, it goes on from the last checkpoint. Any setting can be changed on the command
line: `--config.optim.learning_rate=1e-5`. The result is the model folder `WORKDIR/model`.

On a cluster every process is started with the same arguments and `--distributed`: they find each other under SLURM,
Open MPI, GKE and on Cloud TPUs, and anywhere else by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

Exit codes:
  0   finished: `WORKDIR/model` is written
  1   diverged: too many bad steps in a row; the newest checkpoint is the last that is known to be sound
  2   settings, data or folders that do not fit; nothing was changed
  70  an exception, with its stack trace; in one sentence where another process had it
  71  no memory is left, on the host or on a device
  74  the system refuses a file, or the disk is full
  75  ended before its end, start it again: asked to (SIGTERM, or the platform takes the machine back), and saved, or
      the log says why not; or no step for `stall_minutes`, the stacks are in `WORKDIR/logs/host-<process>.log`
  130 Ctrl-C
"""

import logging
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with its argument: FILE.py[:ARG].")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run: checkpoints, logs, and in the end the model.")
DISTRIBUTED = flags.DEFINE_bool("distributed", False, "Joins the other processes of a cluster before it starts.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    absl_logging.set_verbosity(absl_logging.WARNING)  # Orbax tells of every step it takes
    for name in ("actavatar_jax", "data_pipelines"):
        logging.getLogger(name).setLevel(logging.INFO)
    from actavatar_jax.cli.exits import run_command

    run_command(train)


def train() -> None:
    if DISTRIBUTED.value:
        from actavatar_jax.parallel import join_cluster

        join_cluster()
    from actavatar_jax.heap import keep_memory_of_steps
    from actavatar_jax.puppets.dataset import SOURCES
    from actavatar_jax.runs import training

    keep_memory_of_steps()
    training.run_training(CONFIG.value, Path(WORKDIR.value), sources=SOURCES)


if __name__ == "__main__":
    app.run(main)
