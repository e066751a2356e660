"""AvatarSync on puppets: heads, tokenizer, keyframe transformer, interpolator, scores (docs/avatarsync.md).

    python launch/avatarsync.py --config configs/avatarsync.py --workdir runs/avatarsync

For two CPU cores, in as many sittings as you like: every step goes on from where it stopped. `:runlocal` runs the same
path in a minute or two and reaches nothing.
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False)
    config = ConfigDict()
    # Figures are drawn at `side` pixels, and their heads made as large as the tokenizer takes pictures.
    config.world = ConfigDict({"side": 160, "frames": 50, "languages": ("en", "de")})
    config.clips = 1600  # drawn once and kept as bytes: a gigabyte
    config.watched_clips = 6  # of them sheets and figures are made while training
    config.test_clips = 64  # scored in the end, none of them seen in training
    config.sampling = ConfigDict({"top_k": 12, "temperature": 0.5, "guidance": 1.5, "noise": "shared"})

    config.tokenizer = ConfigDict()  # 64 tokens of 9 bits for 64 x 64 pixels
    config.tokenizer.network = ConfigDict({"widths": (64, 128), "patch": 4, "tokens": (8, 8), "bits": 9, "groups": 8})
    config.tokenizer.loss = ConfigDict({"entropy": 0.02, "commit": 0.05, "temperature": 0.5, "focus": 1.0})
    config.tokenizer.data = ConfigDict({"batch": 16})
    config.tokenizer.training = training(8000, learning_rate=2e-3, b2=0.99)

    config.keyframes = ConfigDict()
    config.keyframes.network = ConfigDict(
        {"width": 192, "heads": 3, "layers": 4, "ffn": 512, "vocabulary": 512, "tokens": (8, 8)}
    )
    config.keyframes.network.visible = "one_to_one"
    config.keyframes.network.update({"level": "phonemes", "units": 64})  # of words there are 4096
    config.keyframes.loss = ConfigDict({"null_share": 0.1})
    config.keyframes.data = ConfigDict({"batch": 8, "keyframes": 5})  # clips of a step, and keyframes of each
    config.keyframes.phase2 = ConfigDict({"share": 0.4, "lpips": (), "faces": "", "temperature": 1.0})
    config.keyframes.phase2.update({"perceptual": 1.0, "identity": 0.5})
    config.keyframes.training = training(3000, learning_rate=1e-3, b2=0.95)

    config.interpolator = ConfigDict()
    config.interpolator.network = ConfigDict({"channels": 8, "depths": (2, 2, 2, 1, 1)})
    config.interpolator.loss = ConfigDict({"decoded": 0.25, "blends": 0.5, "levels": 5})
    config.interpolator.data = ConfigDict({"batch": 8, "longest": 8})
    config.interpolator.training = training(1500, learning_rate=5e-4, b2=0.999)
    return shrink(config) if arg.runlocal else config


def training(steps: int, learning_rate: float, b2: float) -> ConfigDict:
    """What the three trainings share: a flat rate for 40 % of the steps, which then falls to zero."""
    c = ConfigDict()
    c.seed = 0
    c.mesh = "-1,1,1"  # devices along data, fsdp and seq
    c.steps = steps
    c.log_every = 50
    c.checkpoint_every = 200
    c.sample_every = max(steps // 8, 1)
    c.bad_steps = 10
    c.explode = 0.0
    c.stall_minutes = 0.0
    c.optim = ConfigDict(
        {
            "learning_rate": learning_rate,
            "schedule": "constant",
            "warmup": min(50, steps),
            "decay": int(0.6 * steps),
            "b1": 0.9,
            "b2": b2,
            "eps": 1e-8,
            "weight_decay": 0.0,
            "clip": 1.0,
            "moments": "float32",
            "ema_decay": 0.0,
        }
    )
    return c


def shrink(config: ConfigDict) -> ConfigDict:
    config.world.update({"side": 80, "frames": 20})
    config.clips, config.watched_clips, config.test_clips = 4, 1, 2
    config.tokenizer.network.update({"widths": (8, 16), "tokens": (4, 4), "bits": 5, "groups": 4})
    config.tokenizer.data.batch = 4
    config.keyframes.network.update({"width": 16, "heads": 2, "layers": 2, "ffn": 32, "vocabulary": 32})
    config.keyframes.network.tokens = (4, 4)
    config.keyframes.data.update({"batch": 2, "keyframes": 3})
    config.interpolator.network.update({"channels": 4, "depths": (1, 1, 1, 1, 1)})
    config.interpolator.loss.levels = 3
    config.interpolator.data.batch = 4
    for part, rate, b2 in (("tokenizer", 2e-3, 0.99), ("keyframes", 1e-3, 0.95), ("interpolator", 5e-4, 0.999)):
        config[part].training = training(4, rate, b2)
        config[part].training.log_every = config[part].training.checkpoint_every = 2
        config[part].training.sample_every = 4
    return config
