"""What makes timing and lips right in the puppet world: the rows of Table 4, gamma, phases, window bias, the helps.

    python launch/puppets.py --config configs/puppets.py:tokens=1 --workdir runs/puppets32 --until backbone \
        --config.backbone.steps="1500 steps"
    python launch/ablation.py --config configs/ablation.py --workdir runs/ablation --base runs/puppets32
    python launch/ablation.py --config configs/ablation.py:groups=helps,steps=3000 --workdir runs/ablation-helps \
        --base runs/puppets32
    python launch/ablation.py --config configs/ablation.py:groups=forms+extrapolation --workdir runs/ablation-forms \
        --base runs/puppets32

Trains from the backbone of a `launch/puppets.py`; `--dry_run` tells how long it will take. Groups, seeds and steps are
chosen behind the colon. What text alone teaches about timing (`groups=helps`) takes more steps than the rest. Rows with
bare texts, and those that see few phases, read clips of the base that are told anew: texts are encoded once, into the
workdir, and nothing is drawn again. It is the world of the demo at 32 px, where a latent frame is one token; with
`tokens=4` all takes several times as long.

On a CPU, a single-threaded process per core does more than one process with a thread per core; the last line prints
the table:

    export XLA_FLAGS=--xla_cpu_multi_thread_eigen=false
    for core in 0 1; do taskset -c $core python launch/ablation.py ... --part $((core + 1))/2 & done; wait
    python launch/ablation.py ...
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings
from configs import puppets

STAGE1_SHARE = 1 / 17  # of the steps


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(
        arg,
        groups="table4+bias+gamma+phases",
        seeds=3,
        steps=1200,  # of a row, from the backbone on
        test_clips=64,
        tokens="1",
        frames=77,
        fresh=False,
        runlocal=False,
    )
    config = puppets.get_config(f"tokens={arg.tokens},frames={arg.frames},fresh={arg.fresh},runlocal={arg.runlocal}")
    config.sample = settings.sampling(steps=24, shift=3.0, text_guidance=2.0, audio_guidance=2.0)
    config.groups = tuple(arg.groups.split("+"))
    config.seeds = arg.seeds
    config.test_clips = arg.test_clips  # that every run is scored on, none of them seen in training
    config.most_phases = config.world.max_phases
    if arg.runlocal:
        arg.steps, config.test_clips, config.sample.steps = 6, 3, 2
        config.most_phases = 2  # of clips of one second

    # Two stages, or all at once in as many steps.
    config.stage2.optim.update({"schedule": "cosine", "decay": "0", "ema_decay": 0.0})
    config.stage2.sample.every = "0"
    config.joint = config.stage2.copy_and_resolve_references()
    first = round(arg.steps * STAGE1_SHARE)
    config.stage1.steps = f"{first} steps"
    config.stage2.steps = f"{arg.steps - first} steps"
    config.joint.steps = f"{arg.steps} steps"
    for stage in (config.stage1, config.stage2, config.joint):
        stage.time_law.update({"noisy_share": 0.5, "noisy_from": 0.9})  # rows are asked what all levels teach
        stage.model.gamma = 1.5
        stage.model.phase_time = "paper+soft_relay"
    return config
