"""The puppet world from nothing to a model folder: drawing, encoders, backbone, both stages, judge, scores.

    python launch/puppets.py --config configs/puppets.py --workdir runs/puppets

About twenty hours of one CPU core, in as many sittings as you like: every step goes on from where it stopped.
`:runlocal` runs the same path in a few minutes and reaches nothing. On a GPU, clips can be drawn anew for every batch,
with a VAE that was trained there:

    python launch/train_vae.py --config configs/vae.py:puppets --workdir runs/puppet_vae
    python launch/puppets.py --config configs/puppets.py:fresh --workdir runs/puppets_vae \\
        --config.vae=runs/puppet_vae/model
"""

from ml_collections import ConfigDict

from actavatar_jax.models import ADAPTER
from actavatar_jax.runs import settings

# Tokens of a frame: pixels a side, the code, the transformer's patch.
TOKENS = {
    "1": (32, "linear", (1, 2, 2)),  # the ablation's world
    "4": (128, "motion", (1, 2, 2)),  # of 64 x 64 pixels
    "16": (128, "motion", (1, 1, 1)),  # of 32 x 32 pixels
}


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, tokens="4", frames=77, fresh=False, runlocal=False)
    side, code, cells = TOKENS[arg.tokens]
    config = ConfigDict()
    config.world = ConfigDict({"side": side, "frames": arg.frames, "grid": 0.5, "max_phases": 4, "idle": "told"})
    config.preset = "puppets"
    config.code = code
    config.tokens = cells
    config.fresh = arg.fresh  # draw clips on the fly; else `clips` are drawn and encoded once
    config.clips = 32768
    config.vae = ""  # model folder of a trained VAE (configs/vae.py:puppets), in the place of the code
    config.codec_clips = 256  # clips that linear codes and the tokenizer are fitted on
    config.linear = ConfigDict({"patch": 16, "reduce": 1, "channels": 64})

    # What moves, as a few vectors, and a decoder that draws it from the clean first frame.
    config.motion = ConfigDict()
    config.motion.encoder = ConfigDict({"channels": 32, "places": (4, 4), "reduce": 2, "widths": (64, 96, 128, 128)})
    config.motion.decoder = ConfigDict({"widths": (80, 112, 128), "blocks": 3, "warps": 2, "found": 10, "fixed": 4})
    config.motion.training = ConfigDict({"steps": 7000, "batch": 8, "learning_rate": 2e-3})
    config.motion.watch_every = 500
    config.hearing = ConfigDict({"utterances": 3072, "steps": 1500})

    # Image to video by what is seen and told, without times and without sound.
    config.backbone = training(config, wording="global")
    config.backbone.steps = "300 steps"
    config.backbone.optim.learning_rate = 1.5e-3
    config.backbone.rules = ((ADAPTER, None), *settings.FROM_SCRATCH)
    config.backbone.data.audio_drop, config.backbone.data.both_drop = 0.9, 0.1
    config.backbone.data.text_drop = 0.0

    # Speech moves the lips of the frozen backbone (eq. 8).
    config.stage1 = training(config, wording="global")
    config.stage1.steps = "100 steps"
    config.stage1.rules = ((ADAPTER, 1.0), (".*", None))

    # Everything learns to act on cue (eq. 10).
    config.stage2 = training(config, wording="structured")
    config.stage2.steps = "24000 steps"
    config.stage2.optim.learning_rate = 1.5e-3
    config.stage2.optim.schedule, config.stage2.optim.decay = "constant", "8000 steps"
    config.stage2.optim.ema_decay = 0.998  # what is looked at on the way
    config.stage2.checkpoint_every = "200 steps"
    config.stage2.sample.every = "600 steps"
    config.stage2.model.phase_time = "paper+relay"  # without it timing takes far longer (docs/puppets.md)

    # The last part: the decoder learns to draw what the finished model makes.
    config.decoder = ConfigDict()
    config.decoder.training = ConfigDict({"steps": 2000, "learning_rate": 5e-4})
    config.decoder.watch_every = 400

    config.sample = settings.sampling(steps=1, solver="mean", text_guidance=1.0, audio_guidance=1.0)
    config.watched_clips = 16  # of them sheets and figures are made while training
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
    c.time_law.shift = 2.0  # a clip is a few hundred tokens: noise hides much less of it than of a full-size one
    c.time_law.noisy_share, c.time_law.noisy_from = 0.9, 1.0  # where samples of one step are made: at pure noise
    return c


def shrink(config: ConfigDict) -> ConfigDict:
    config.world.update({"frames": 25})
    config.preset = "tiny"
    config.linear.channels = 8
    config.motion.encoder.update({"channels": 8, "widths": (8, 8, 8, 8)})
    config.motion.decoder.update({"widths": (4, 6), "blocks": 1})
    config.motion.training.update({"steps": 4, "pool": 4, "log_every": 2})
    config.motion.watch_every = 2
    config.clips, config.codec_clips, config.test_clips = 16, 8, 3
    config.hearing.update({"utterances": 16, "steps": 4})
    for stage in (config.backbone, config.stage1, config.stage2):
        stage.data.world = config.world
        stage.data.batch_size = 4
        stage.steps = "4 steps"
        stage.optim.warmup = "1 steps"
    config.decoder.training.update({"steps": 4, "pool": 4, "log_every": 2})
    config.decoder.watch_every = 2
    config.stage2.sample.every = "2 steps"
    config.watched_clips = 2
    return config
