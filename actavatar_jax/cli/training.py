"""The commands of a training: `train`, and `plan` before it."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from actavatar_jax.cli.options import Adapter, Lora
from actavatar_jax.cli.progress import show_progress
from actavatar_jax.errors import InputError

app = typer.Typer()


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar train --config configs/stage1.py:runlocal --workdir runs/s1 --config.seed=1",
)
def train(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    workdir: Annotated[Path, typer.Option(help="Checkpoints, logs, samples and what was trained.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Trains as launch/train.py does; goes on from the last checkpoint in the work folder."""
    from absl import logging as absl_logging

    from actavatar_jax.puppets.dataset import SOURCES
    from actavatar_jax.runs import training
    from actavatar_jax.runs.settings import read_config

    absl_logging.set_verbosity(absl_logging.WARNING)  # the checkpoint library reports every step of its own at INFO
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


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar plan --config configs/stage2.py --topology v5p:2x2x2 --mesh 1,8,1",
)
def plan(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    topology: Annotated[str, typer.Option(help="v5e:4x4, v5p:2x2x2, tpu7x:2x2x1, h200:8, 2xv5p:4x4x4, ...")],
    mesh: Annotated[str | None, typer.Option(help="Devices along data, fsdp and seq; default: the config's.")] = None,
    search: Annotated[bool, typer.Option("--search", help="Every mesh that divides, the fastest first.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for all figures of all plans.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Compiles the training step for a cluster that is not here: memory, collectives, time; what to change to fit."""
    import jax

    from actavatar_jax import planning
    from actavatar_jax.runs.settings import read_config
    from actavatar_jax.runs.workload import workload_of

    if search and mesh:
        raise InputError("Give either --mesh or --search, which tries every mesh, not both.")
    jax.config.update("jax_platforms", "cpu")  # accelerators of this machine are left alone
    workload = workload_of(read_config(config, overrides or []))
    if search:
        with tqdm(unit="mesh", desc="planning") as bar:
            plans = planning.search(workload, topology, report=partial(show_progress, bar, topology))
        print(planning.compare(plans))
    else:
        plans = [planning.plan_training(workload, topology, mesh or workload.training.mesh)]
        print(planning.describe(plans[0]))
        if not plans[0].fits:
            for tried in tqdm(planning.advise(workload, plans[0]), unit="plan", desc="looking for what fits"):
                plans.append(tried)
            print(f"\n{planning.compare(plans)}\n\n{planning.verdict(plans)}")
    if json:
        planning.save(json, plans)
    if not plans[0].fits:  # of the given mesh, or the best one
        sys.exit(1)
