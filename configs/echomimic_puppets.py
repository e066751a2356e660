"""A small EchoMimicV3 on puppets: with and without phase dropout, all tasks, windows and preference steps.

    python launch/echomimic_puppets.py --workdir runs/echomimic_puppets

It draws and encodes clips, trains a backbone that hears nothing, and from there every row with three seeds; then
WORKDIR/table.md compares them. Rows, seeds and steps are chosen behind the colon of `--config`. It is the ablation's
world (`configs/ablation.py`): 32 px, a latent frame is one token. `--base` takes the text and speech encoders of a
`launch/puppets.py` of that world, whose making would be the longest part before the backbone.

On a CPU, a single-threaded process per core does more than one process with a thread per core; the last line prints
the table:

    export XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
    for core in 0 1; do taskset -c $core python launch/echomimic_puppets.py ... --part $((core + 1))/2 & done; wait
    python launch/echomimic_puppets.py ...
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings
from configs import puppets

ROWS = "supervised+no-phase-dropout+one-task+no-windows+longer+preferred"


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, rows=ROWS, seeds=3, steps=1200, runlocal=False)
    config = ConfigDict()
    config.base = puppets.get_config(f"tokens=1,runlocal={arg.runlocal}")  # of its sections those of the frozen parts
    config.base.code.channels = 48  # of 64: a token's noise is to leave room beside it in the transformer's width
    config.world = config.base.world
    config.rows, config.seeds = tuple(arg.rows.split("+")), arg.seeds
    config.clips = 4096  # that are drawn and encoded once
    config.test_clips = 64  # that every run is scored on, none of them seen in training
    config.picture = ConfigDict({"width": 32, "heads": 2, "ffn": 64, "layers": 1, "image_size": 32, "patch": 8})
    config.network = ConfigDict(
        {"width": 256, "heads": 4, "head_dim": 64, "ffn": 512, "layers": 4, "freq_dim": 64, "text_len": 72}
    )
    config.network.patch = config.base.tokens
    config.sample = ConfigDict({"solver": "unipc", "steps": 12, "shift": 3.0, "decay": False, "match_colours": False})
    config.sample.update({"text_guidance": 2.0, "audio_guidance": 2.0, "negative_prompt": "", "negative_scale": 1.0})
    config.pairs = ConfigDict({"clips": 96, "seeds": 4})  # talks of each clip, of which the best and the worst are kept

    # From the first frame, or both ends, and text: as Wan2.1-Fun, which hears nothing and knows no windows.
    config.backbone = training()
    config.backbone.steps = "1500 steps"
    config.backbone.echomimic.update({"phase_dropout": False, "windows": False})
    config.backbone.echomimic.tasks.update({"first_frame": 0.8, "first_and_last": 0.2})
    config.backbone.echomimic.tasks.update({"continuation": 0.0, "mouth": 0.0, "text_and_audio": 0.0})
    config.backbone.data.update({"text_drop": 0.0, "audio_drop": 0.9, "both_drop": 0.1})
    config.backbone.time_law.update({"shift": 2.0, "noisy_share": 0.5, "noisy_from": 0.9})

    config.supervised = training()
    config.supervised.steps = f"{arg.steps} steps"

    # What goes on from there takes as many supervised steps, be there steps of pairs between them or not.
    pairs = max(arg.steps // 20, 1)
    config.longer = training()
    config.longer.steps = f"{4 * pairs} steps"
    config.longer.optim.learning_rate = 3e-4
    config.preferred = config.longer.copy_and_resolve_references()
    config.preferred.steps = f"{5 * pairs} steps"
    config.preferred.preference.update({"every": 5, "batch_size": 8})
    return shrink(config) if arg.runlocal else config


def training() -> ConfigDict:
    """What the trainings share."""
    c = settings.echomimic()
    c.precision = "float32"  # bfloat16 is slower on CPUs
    c.model.remat = "none"
    c.data.batch_size = 16
    c.data.text_drop, c.data.audio_drop, c.data.both_drop = 0.1, 0.05, 0.05
    c.log_every = "50 steps"
    c.optim.learning_rate = 1e-3
    c.optim.schedule = "cosine"
    c.optim.warmup = "100 steps"
    c.time_law.shift = 1.0  # times are even, as those of phase dropout are
    return c


def shrink(config: ConfigDict) -> ConfigDict:
    """The same at a size of which nothing is learned."""
    config.base.code.channels = 8
    config.clips, config.test_clips = 16, 2
    config.network.update({"width": 64, "heads": 2, "head_dim": 32, "ffn": 64, "layers": 1, "text_len": 112})
    config.picture.update({"width": 16, "ffn": 16})
    config.sample.steps = 2
    config.pairs.update({"clips": 4, "seeds": 2})
    for stage in (config.backbone, config.supervised, config.longer, config.preferred):
        stage.data.batch_size = stage.preference.batch_size = 4
        stage.steps, stage.optim.warmup = "4 steps", "1 steps"
    config.preferred.steps = "5 steps"
    return config
