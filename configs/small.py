"""A small world in minutes: everything learns at once, from random weights, on a handful of clips of your own.

    python launch/train.py --config configs/small.py --workdir runs/small --config.model.folder=model \\
        --config.data.dirs="('shards',)"

The model folder comes from `actavatar init --preset small`, the shards from `actavatar encode`; how long it takes is in
README.md. `:runlocal` needs neither folder and reaches nothing.
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False)
    config = settings.training()
    config.precision = "float32"  # bfloat16 is slower on CPUs
    config.model.remat = "none"
    config.data.batch_size = 8
    config.steps = "600 steps"
    config.log_every = "50 steps"
    config.checkpoint_every = "200 steps"
    config.rules = settings.FROM_SCRATCH
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup = "50 steps"
    config.time_law.noisy_share = 0.5  # high noise levels decide when things happen
    return settings.shrink(config) if arg.runlocal else config
