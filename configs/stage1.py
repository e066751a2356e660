"""Stage 1: the audio adapter learns to move lips; the backbone is frozen (20 000 steps, batch 40, brief captions).

    python launch/train.py --config configs/stage1.py --workdir runs/stage1 \\
        --config.model.folder=Wan2.2-TI2V-5B-Diffusers --config.data.dirs="('shards/talking_heads',)"

On a laptop, with a tiny random model and made-up clips (for the mechanics: a backbone whose head is still zero gives
the adapter nothing to learn from):

    python launch/train.py --config configs/stage1.py:runlocal --workdir runs/local1
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arg: str = "") -> ConfigDict:
    arg = common.parse_arg(arg, runlocal=False, preset="")
    config = common.training(arg.preset)
    config.steps = "20_000 steps"
    config.rules = (
        (r"(audio_projection|blocks/audio_(norm|attn))/.*", 1.0),
        (r".*", None),
    )
    return common.shrink(config) if arg.runlocal else config
