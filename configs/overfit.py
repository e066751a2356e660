"""Overfits three real clips of two seconds: does the whole path carry real faces and real speech?

    python launch/overfit.py --config configs/overfit.py --workdir runs/overfit --videos ../shared/media/videos

Well under an hour on two CPU cores. The transformer is the small preset from random weights; PatchCodec is fitted on
the clips. First the backbone learns the clips without ever hearing them, then stage 1 adds the audio adapter to the
frozen backbone. Trained together on three clips, speech becomes the name of the clip: another clip's speech then
replaces the whole picture. `:runlocal` runs the same path in minutes and reaches nothing.
"""

from ml_collections import ConfigDict

from actavatar_jax.models import ADAPTER
from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False)
    config = settings.training()
    config.precision = "float32"  # bfloat16 is slower on CPUs
    config.model.remat = "none"
    config.data.batch_size = 4
    config.steps = "800 steps"
    config.backbone_steps = "2400 steps"
    config.log_every = "100 steps"
    config.checkpoint_every = "500 steps"
    config.rules = ((ADAPTER, 1.0), (".*", None))
    config.backbone_rules = ((ADAPTER, None), *settings.FROM_SCRATCH)
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "cosine"
    config.optim.warmup = "100 steps"
    config.time_law.shift = 3.0

    config.clips = ConfigDict()
    config.clips.frames = 49
    config.clips.side = 128
    # Frames between the windows of the whole clips that are trained on. With a handful of windows speech becomes
    # their name, and another clip's speech disturbs the whole picture; with many it has to say what the mouth does.
    config.clips.stride = 4
    config.clips.channels = 80  # components of PatchCodec: at least 30 dB on each of the clips
    # File stem -> prompt, first frame of the scored window, and the mouth's box (left, top, right, bottom) at 128 px.
    config.clips.scored = ConfigDict(
        {
            "v03_suit_man_vfr": ("A man in a suit speaking in front of a window.", 12, (58, 46, 84, 68)),
            "v04_blue_woman_30fps": ("A woman speaking in front of a blue wall.", 48, (56, 46, 84, 70)),
            "v11_older_man_head_25fps": ("An older man speaking in a hall.", 12, (48, 64, 80, 88)),
        }
    )
    config.sample.steps = 24
    config.sample.text_guidance = 1.0  # guidance sharpens away from what was memorised
    config.sample.audio_guidance = 1.0

    if arg.runlocal:
        config.steps = config.backbone_steps = "4 steps"
        config.checkpoint_every = "4 steps"
        config.optim.warmup = "1 steps"
        config.sample.steps = 4
    return config
