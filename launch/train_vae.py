"""Trains a small VAE: `python launch/train_vae.py --config configs/vae.py --workdir runs/vae --config.data.dir=clips`.

The clips are those of `actavatar prepare`, or puppets with `configs/vae.py:puppets`. The result is
`WORKDIR/model/vae`. This wants an accelerator: on a CPU the loss falls, but useful quality is not reached.
"""

import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, with its argument: FILE.py[:ARG].")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of this run: logs, and in the end the model.")
flags.mark_flags_as_required(["config", "workdir"])


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unexpected arguments: {' '.join(argv[1:])}")
    from actavatar_jax.errors import InputError
    from actavatar_jax.heap import keep_memory_of_steps
    from actavatar_jax.puppets.dataset import drawn_windows
    from actavatar_jax.puppets.world.clips import World
    from actavatar_jax.runs.vae import read_vae_config, run_vae_training
    from data_pipelines.clips import cut_pixel_windows

    keep_memory_of_steps()
    config, data = CONFIG.value, CONFIG.value.data
    try:
        frames = max(phase.frames for phase in read_vae_config(config)[0].phases)
        if data.source == "puppets":
            clips = drawn_windows(World(side=data.size), frames, data.windows_per_visit, seed=config.seed)
        else:
            clips = cut_pixel_windows(Path(data.dir), data.size, frames, data.windows_per_visit, seed=config.seed)
        run_vae_training(config, clips, Path(WORKDIR.value))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
