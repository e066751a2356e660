"""EchoMimicV3, whose authors published no training: everything learns, all tasks at once (20 000 steps, batch 64).

From the public weights, with clips that were encoded by `actavatar encode --system echomimic` (docs/echomimic.md):

    python launch/train.py --config configs/echomimic.py --workdir runs/echomimic \\
        --config.model.folder=EchoMimicV3/transformer --config.echomimic.base=Wan2.1-Fun-V1.1-1.3B-InP \\
        --config.data.dirs="('shards/echomimic',)"

From Wan2.1-Fun alone, which hears nothing yet: `--config.model.folder=Wan2.1-Fun-V1.1-1.3B-InP`. `:variant=flash` is
the other variant. The learning rate is the paper's, its number of steps and its batch are not known. Every fifth step
may be of pairs, of which one was preferred (docs/preferences.md).

On a laptop, with a tiny random model and made-up clips:

    python launch/train.py --config configs/echomimic.py:runlocal --workdir runs/local_echomimic
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False, preset="", variant="preview")
    config = settings.echomimic(arg.preset)
    config.echomimic.variant = arg.variant
    config.steps = "20_000 steps"
    config.data.batch_size = 64
    config.data.bucket = (768, 768, 113)
    config.data.text_drop = config.data.audio_drop = config.data.both_drop = 0.0  # the noise decides what is told
    config.optim.learning_rate = 1e-4
    if arg.runlocal:
        settings.shrink(config)
        config.model.preset = "tiny" if arg.variant == "preview" else "tiny_flash"
    return config
