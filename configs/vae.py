"""A small Wan2.2-type VAE from random weights, on clips made by `actavatar prepare`, or on puppets drawn as it goes.

    python launch/train_vae.py --config configs/vae.py --workdir runs/vae --config.data.dir=clips
    python launch/train_vae.py --config configs/vae.py:puppets --workdir runs/puppet_vae

This wants an accelerator. On a CPU it does not reach useful quality; what can be done there is to look at the wiring:

    python launch/train_vae.py --config configs/vae.py:runlocal --workdir DIR --config.data.dir=clips
"""

from ml_collections import ConfigDict

from actavatar_jax.runs import settings


def get_config(arg: str = "") -> ConfigDict:
    arg = settings.parse_arg(arg, runlocal=False, puppets=False)
    c = ConfigDict()
    c.seed = 0
    c.precision = "float32"  # of the computation: float32 | bfloat16; weights stay float32

    c.model = ConfigDict()  # fields of VAEConfig; the latents' statistics are measured
    c.model.encoder_base = 32
    c.model.decoder_base = 48
    c.model.z_dim = 48
    c.model.res_blocks = 2

    c.data = ConfigDict()
    c.data.source = "puppets" if arg.puppets else "clips"
    c.data.dir = ""  # clip folder of the source clips: holds clips/*.mp4
    c.data.size = 128  # pixels along each side of the centred square; a multiple of 16
    c.data.windows_per_visit = 4  # random windows cut from a clip each time it is read

    c.steps = 20_000
    c.log_every = 50
    c.phases = ((0.35, 1, 64), (0.35, 5, 16), (0.3, 17, 4))  # share of the steps, frames per clip, clips per step
    c.learning_rate = 3e-3  # flat for 40 % of the steps, then to zero
    c.kl_weight = 1e-6
    c.statistics_batches = 16  # batches of the last phase over which the latents are measured
    return shrink(c) if arg.runlocal else c


def shrink(config: ConfigDict) -> ConfigDict:
    """The same run for a laptop: minutes on a CPU, most of them compiling."""
    config.model.encoder_base = config.model.decoder_base = 8
    config.model.z_dim = 8
    config.model.res_blocks = 1
    config.data.size = 32
    config.steps = 60
    config.log_every = 5
    config.learning_rate = 1e-2
    config.phases = ((0.6, 1, 8), (0.4, 5, 2))
    config.statistics_batches = 4
    return config
