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

# What one token of the transformer stands for: pixels a side, patch and reduction of the linear code, its channels, the
# transformer's patch. `16` is the default; the others are its rivals.
TOKENS = {
    "1": (32, 16, 1, 64, (1, 2, 2)),  # of 32 x 32 pixels, one in a frame: the ablation's world
    "4": (128, 16, 2, 128, (1, 2, 2)),  # of 64 x 64 pixels, coded as 32 x 32
    "16": (128, 16, 2, 64, (1, 1, 1)),  # of 32 x 32 pixels, coded as 16 x 16
    "16fine": (128, 16, 1, 32, (1, 2, 2)),  # of 32 x 32 pixels, coded as they are
    "8x8": (128, 8, 2, 20, (1, 2, 2)),  # of 32 x 32 pixels, coded in four parts: Wan2.1's geometry
}


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, tokens="16", frames=77, fresh=False, runlocal=False)
    side, patch, reduce, channels, cells = TOKENS[arg.tokens]
    config = ConfigDict()
    config.world = ConfigDict({"side": side, "frames": arg.frames, "grid": 0.5, "max_phases": 4, "idle": "told"})
    config.preset = "puppets"
    config.code = ConfigDict({"patch": patch, "reduce": reduce, "channels": channels})
    config.tokens = cells
    # The transformer's blocks, values in each one's FFN, and heads, 64 values each: together they are the stream.
    config.network = ConfigDict({"layers": 4, "ffn": 512, "heads": 4})
    config.fresh = arg.fresh  # draw clips on the fly; else `clips` are drawn and encoded once
    config.clips = 32768
    config.vae = ""  # model folder of a trained VAE (configs/vae.py:puppets); else PatchCodec is fitted on
    config.codec_clips = 256  # so many clips
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

    # The last part: frames are drawn anew from what the finished model makes and the clean first frame.
    config.decoder = ConfigDict()
    config.decoder.network = ConfigDict({"widths": (80, 112, 128), "warps": 2, "shuffle": 4, "found": 10, "fixed": 4})
    config.decoder.training = ConfigDict(
        {"steps": 24000, "batch": 8, "learning_rate": 2e-3, "mouth": 15.0, "hands": 6.0}
    )
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
    config.code.channels = 8
    config.network.update({"layers": 2, "ffn": 128, "heads": 2})
    config.clips, config.codec_clips, config.test_clips = 16, 8, 3
    config.hearing.update({"utterances": 16, "steps": 4})
    for stage in (config.backbone, config.stage1, config.stage2):
        stage.data.world = config.world
        stage.data.batch_size = 4
        stage.steps = "4 steps"
        stage.optim.warmup = "1 steps"
    config.decoder.network.widths = (4, 6)
    config.decoder.training.update({"steps": 4, "pool": 4, "log_every": 2})
    config.decoder.watch_every = 2
    config.stage2.sample.every = "2 steps"
    config.watched_clips = 2
    return config
