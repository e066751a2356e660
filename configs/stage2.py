"""Stage 2: everything learns to act on cue (14 000 steps, batch 40, structured prompts).

It starts from a fresh backbone with the adapter of stage 1, and with a fresh optimizer:

    python launch/train.py --config configs/stage2.py --workdir runs/stage2 \\
        --config.model.folder=Wan2.2-TI2V-5B-Diffusers --config.adapter=runs/stage1/adapter.safetensors \\
        --config.data.dirs="('shards/motion',)"

A small model from random weights needs the helps of its preset, and two of the training: its phase embeddings learn ten
times faster, and half of the noise levels are high ones, which decide when things happen. `:preset=NAME` gives it both,
at this length; configs/small.py does so at a length for a laptop.

On a laptop, with a tiny random model and made-up clips:

    python launch/train.py --config configs/stage2.py:runlocal --workdir runs/local2
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False, preset="")
    from_scratch = bool(arg.preset) or arg.runlocal
    config = settings.training(arg.preset)
    config.steps = "14_000 steps"
    if from_scratch:
        config.rules = settings.FROM_SCRATCH
        config.optim.learning_rate = 1e-3
        config.time_law.noisy_share = 0.5
    return settings.shrink(config) if arg.runlocal else config
