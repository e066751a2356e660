"""The commands of a training: `train`, and `export` after it."""

from pathlib import Path
from typing import Annotated

import typer

from actavatar_jax.cli.options import Adapter, Distributed, Lora

app = typer.Typer()


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar train --config configs/stage1.py:runlocal --workdir runs/s1 --config.seed=1",
)
def train(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    workdir: Annotated[Path, typer.Option(help="Checkpoints, logs, samples and what was trained.")],
    distributed: Distributed = False,
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Trains as launch/train.py does; goes on from the last checkpoint in the work folder."""
    from absl import logging as absl_logging

    from actavatar_jax.parallel import join_cluster

    if distributed:
        join_cluster()
    from actavatar_jax.heap import keep_memory_of_steps
    from actavatar_jax.puppets.dataset import SOURCES
    from actavatar_jax.runs import training
    from actavatar_jax.runs.settings import read_config

    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
    keep_memory_of_steps()
    training.run_training(read_config(config, overrides or []), workdir, sources=SOURCES)


@app.command(epilog="Example: actavatar export Wan2.2-TI2V-5B-Diffusers model/ --adapter runs/s1/adapter.safetensors")
def export(
    base: Annotated[Path, typer.Argument(help="Model folder that the training started from.")],
    out: Annotated[Path, typer.Argument(help="The model folder to write.")],
    adapter: Adapter = None,
    lora: Lora = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or bfloat16; default: as it is stored.")] = None,
) -> None:
    """Base, adapter and LoRA -> a whole model folder."""
    from actavatar_jax.runs.exporting import export_model

    export_model(base, out, adapter, lora or [], dtype)
