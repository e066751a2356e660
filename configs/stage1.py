"""Stage 1: the audio adapter learns to move lips; the backbone is frozen (20 000 steps, batch 40, brief captions).

    python launch/train.py --config configs/stage1.py --workdir runs/stage1 \\
        --config.model.folder=Wan2.2-TI2V-5B-Diffusers --config.data.dirs="('shards/talking_heads',)"

On a laptop, with a tiny random model and made-up clips (for the mechanics: a backbone whose head is still zero gives
the adapter nothing to learn from):

    python launch/train.py --config configs/stage1.py:runlocal --workdir runs/local1
"""

from ml_collections import ConfigDict

from actavatar_jax.models import ADAPTER
from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False, preset="")
    config = settings.training(arg.preset)
    config.steps = "20_000 steps"
    # Else what the first blocks hear is lost: of a bfloat16 stream most elements do not change where the adapter's
    # output, at a tenth of it, is scaled by (1/30)^1.5.
    config.model.stream = "float32"
    config.rules = (
        (ADAPTER, 1.0),
        (r".*", None),
    )
    return settings.shrink(config) if arg.runlocal else config
