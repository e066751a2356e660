"""A training in one of two processes that measures the held-out loss of a folder of shards.

python -m tests.runs.heldout_training PORT PROCESS WORKDIR SHARDS
"""

import sys
from pathlib import Path

import jax

SETTINGS = {"precision": "float32", "log_every": "1", "checkpoint_every": "0", "steps": "2", "optim.ema_decay": 0.5}


def settings(shards: str) -> dict:
    return SETTINGS | {"heldout.dirs": (shards,), "heldout.every": "1", "heldout.clips": 5, "best": "heldout/ema_loss"}


def main(port: str, process: str, workdir: str, shards: str) -> None:
    jax.distributed.initialize(f"localhost:{port}", 2, int(process))
    from actavatar_jax.runs import training
    from configs import stage2

    config = stage2.get_config("runlocal")
    config.update_from_flattened_dict(settings(shards) | {"mesh": "1,2,1", "micro_batches": 2})
    training.run_training(config, Path(workdir))


if __name__ == "__main__":
    main(*sys.argv[1:])
