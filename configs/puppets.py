"""The puppet world from nothing to a model folder: drawing, encoders, backbone, both stages, judge, scores.

    python launch/puppets.py --config configs/puppets.py --workdir runs/puppets

About an hour and a quarter on two CPU cores at 64 px.
`:runlocal` runs the same path in a few minutes and reaches nothing. On a GPU, clips can be drawn anew for every batch,
at 128 px, with a VAE that was trained there:

    python launch/train_vae.py --config configs/vae.py:puppets --workdir runs/puppet_vae
    python launch/puppets.py --config configs/puppets.py:side=128,fresh --workdir runs/puppets128 \\
        --config.vae=runs/puppet_vae/model
"""

from ml_collections import ConfigDict

from actavatar_jax.models.presets import ADAPTER
from actavatar_jax.puppets import SAMPLING
from actavatar_jax.training import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, side=64, frames=77, fresh=False, runlocal=False)
    config = ConfigDict()
    config.world = ConfigDict({"side": arg.side, "frames": arg.frames, "grid": 0.5, "max_phases": 4})
    config.preset = "puppets"
    config.fresh = arg.fresh  # draw clips on the fly; else `clips` are drawn and encoded once
    config.clips = 8192
    config.vae = ""  # model folder of a trained VAE (configs/vae.py:puppets); else PatchCodec is fitted on
    config.codec_clips = 256  # so many clips
    config.hearing = ConfigDict({"utterances": 1536, "steps": 600})

    # Image to video by what is seen and told, without times and without sound.
    config.backbone = training(config, wording="global")
    config.backbone.steps = "1500 steps"
    config.backbone.optim.learning_rate = 1.5e-3
    config.backbone.time_law.noisy_share = 0.3
    config.backbone.rules = ((ADAPTER, None), *settings.FROM_SCRATCH)
    config.backbone.data.audio_drop, config.backbone.data.both_drop = 0.9, 0.1
    config.backbone.data.text_drop = 0.0

    # Speech moves the lips of the frozen backbone (eq. 8).
    config.stage1 = training(config, wording="global")
    config.stage1.steps = "500 steps"
    config.stage1.time_law.noisy_share = 0.0  # lips are decided at middle levels
    config.stage1.rules = ((ADAPTER, 1.0), (".*", None))

    # Everything learns to act on cue (eq. 10).
    config.stage2 = training(config, wording="structured")
    config.stage2.steps = "8000 steps"
    config.stage2.optim.learning_rate = 1.5e-3
    config.stage2.model.phase_bias = "hard"  # without it timing takes far longer (docs/puppets.md)

    config.sample = ConfigDict(SAMPLING)
    config.test_clips = 64  # clips that are sampled and judged, none of them seen in training
    return shrink(config) if arg.runlocal else config


def training(config: ConfigDict, wording: str) -> ConfigDict:
    """What the three trainings share: the helps of a backbone without a past, and rates for a small model."""
    c = settings.training()
    c.precision = "float32"  # bfloat16 is slower on CPUs
    c.model.remat = "none"
    c.data.source = "puppets" if config.fresh else "shards"
    c.data.wording = wording
    c.data.world = config.world
    c.data.batch_size = 16
    c.log_every = "100 steps"
    c.checkpoint_every = "500 steps"
    c.rules = settings.FROM_SCRATCH
    c.optim.learning_rate = 1e-3
    c.optim.schedule = "cosine"
    c.optim.warmup = "100 steps"
    c.time_law.shift = 2.0  # a clip is 80 tokens: noise hides much less of it than of a full-size one
    c.time_law.noisy_share = 0.5
    return c


def shrink(config: ConfigDict) -> ConfigDict:
    config.world.update({"side": 64, "frames": 25})
    config.preset = "tiny"
    config.clips, config.codec_clips, config.test_clips = 16, 8, 3
    config.hearing.update({"utterances": 16, "steps": 4})
    for stage in (config.backbone, config.stage1, config.stage2):
        stage.data.world = config.world
        stage.data.batch_size = 4
        stage.steps = "4 steps"
        stage.optim.warmup = "1 steps"
    config.sample.steps = 2
    return config
