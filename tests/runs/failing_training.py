"""A training in one of two processes, of which the second fails by itself while a checkpoint is written.

    python -m tests.runs.failing_training PORT PROCESS WORKDIR

It ends as a command does.
"""

import sys
from pathlib import Path

import jax


def main(port: str, process: str, workdir: str) -> None:
    jax.distributed.initialize(f"localhost:{port}", 2, int(process))
    from actavatar_jax.cli.exits import run_command
    from actavatar_jax.runs import training
    from actavatar_jax.training import loop
    from configs import stage2

    class Failing(loop.Recorder):
        def add(self, step, *rest):
            if step == 3 and process == "1":
                raise OSError("the data is gone")
            super().add(step, *rest)

    loop.Recorder = Failing
    config = stage2.get_config("runlocal")
    config.update_from_flattened_dict({"precision": "float32", "log_every": "1", "checkpoint_every": "2"})
    config.update_from_flattened_dict({"steps": "1000000", "mesh": "1,2,1"})
    run_command(lambda: training.run_training(config, Path(workdir)))


if __name__ == "__main__":
    main(*sys.argv[1:])
