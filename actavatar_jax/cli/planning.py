"""The commands before one pays for anything: `plan train`, `plan sample` and `plan encode`."""

import sys
from functools import partial
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from actavatar_jax.cli.echomimic import check_planning
from actavatar_jax.cli.options import (
    AttentionForm,
    AudioEncoder,
    ChunkFrames,
    Dtype,
    Memory,
    PhaseTime,
    Rate,
    Scale,
    Solver,
    Steps,
)
from actavatar_jax.cli.progress import show_progress
from actavatar_jax.errors import InputError

if TYPE_CHECKING:
    from actavatar_jax.planning.sampling import Workload

app = typer.Typer(no_args_is_help=True, help="What training, sampling or encoding takes on machines that are not here.")

Topology = Annotated[str, typer.Option(help="v5e:4x4, v5p:2x2x2, tpu7x:2x2x1, h200:8, 2xv5p:4x4x4, one v6e:1, ...")]


def _plan_only(jax: ModuleType) -> None:
    """Leaves accelerators of this machine alone, and keeps no programs: those of absent TPUs cannot be read again."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)


@app.command(
    context_settings={"ignore_unknown_options": True},  # --config.NAME=VALUE
    epilog="Example: actavatar plan train --config configs/stage2.py --topology v5p:2x2x2 --mesh 1,8,1",
)
def train(
    config: Annotated[str, typer.Option(help="Config file, with its argument behind a colon.")],
    topology: Topology,
    mesh: Annotated[str | None, typer.Option(help="Devices along data, fsdp and seq; default: the config's.")] = None,
    search: Annotated[bool, typer.Option("--search", help="Every mesh that divides, the fastest first.")] = False,
    json: Annotated[Path | None, typer.Option(help="File for all figures of all plans.")] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="Changed settings: --config.NAME=VALUE ...")] = None,
) -> None:
    """Compiles the training step for a cluster that is not here: memory, collectives, time; what to change to fit."""
    import jax

    from actavatar_jax.planning import training
    from actavatar_jax.runs.settings import read_config
    from actavatar_jax.runs.workload import workload_of

    if search and mesh:
        raise InputError("Give either --mesh or --search, which tries every mesh, not both.")
    _plan_only(jax)
    workload = workload_of(read_config(config, overrides or []))
    if search:
        with tqdm(unit="mesh", desc="planning") as bar:
            plans = training.search(workload, topology, report=partial(show_progress, bar, topology))
        print(training.compare(plans))
    else:
        plans = [training.plan_training(workload, topology, mesh or workload.training.mesh)]
        print(training.describe(plans[0]))
        if not plans[0].fits:
            for tried in tqdm(training.advise(workload, plans[0]), unit="plan", desc="looking for what fits"):
                plans.append(tried)
            print(f"\n{training.compare(plans)}\n\n{training.verdict(plans)}")
    if json:
        training.save(json, plans)
    if not plans[0].fits:  # of the given mesh, or the best one
        sys.exit(1)


@app.command(epilog="Example: actavatar plan sample --topology h100:1 --dtype bfloat16 --memory 24GB")
def sample(
    topology: Topology,
    model: Annotated[Path | None, typer.Option(help="Model folder.")] = None,
    preset: Annotated[str | None, typer.Option(help="In its place; default: wan22_ti2v_5b.")] = None,
    mesh: Annotated[str | None, typer.Option(help="Devices along data, fsdp and seq, where there are several.")] = None,
    frames: Annotated[int | None, typer.Option(help="4k+1; default: the model's own.")] = None,
    rate: Rate = None,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    steps: Steps = None,
    solver: Solver = None,
    text_guidance: Scale = None,
    audio_guidance: Scale = None,
    guidance: Annotated[str | None, typer.Option(help="As for `sample`; default: the model's own.")] = None,
    guidance_interval: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="As for `sample`; default: the model's own.")
    ] = None,
    skip: Annotated[float | None, typer.Option(help="As for `sample`; default: the model's own.")] = None,
    phase_time: PhaseTime = None,
    dtype: Dtype = "float32",
    attention: AttentionForm = "auto",
    quantize: Annotated[str | None, typer.Option(help="int8 or fp8: weights in half the memory of bfloat16.")] = None,
    audio_encoder: AudioEncoder = None,
    memory: Memory = "auto",
    json: Annotated[Path | None, typer.Option(help="File for all figures of all plans.")] = None,
    system: Annotated[str, typer.Option(help="actavatar; or echomimic, in its published sizes.")] = "actavatar",
    variant: Annotated[str, typer.Option(help="Of echomimic: preview or flash.")] = "preview",
    chunk_frames: ChunkFrames = None,
) -> None:
    """Compiles what makes a video for a machine that is not here: memory, time; what to change to fit."""
    check_planning(system, sample, dict(locals()))
    import jax

    from actavatar_jax.planning import sampling

    _plan_only(jax)
    options = {
        "num_frames": frames, "rate": rate, "height": height, "width": width, "steps": steps, "solver": solver,
        "text_guidance": text_guidance, "audio_guidance": audio_guidance, "guidance": guidance,
        "guidance_interval": guidance_interval, "skip": skip, "phase_time": phase_time, "chunk_frames": chunk_frames,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    if system == "echomimic":
        work = sampling.EchoMimicWorkload(variant, None, dtype, attention, quantize).changed(**given)
    else:
        work = _workload_of(model, preset, audio_encoder, given, (dtype, attention, quantize))
    plans = [sampling.plan_sampling(work, topology, mesh, memory)]
    print(sampling.describe(plans[0]))
    if not plans[0].fits:
        again = {"memory": memory, "first": plans[0].worst.stage}
        tried = chain(
            sampling.advise(work, plans[0], lambda other: sampling.plan_sampling(other, topology, mesh, **again)),
            sampling.advise_devices(plans[0], lambda *cluster: sampling.plan_sampling(work, *cluster, **again)),
        )
        plans += tqdm(tried, unit="plan", desc="looking for what fits")
        verdict = sampling.verdict(plans)
        print(f"\n{sampling.compare(plans)}\n\n{verdict[0].upper()}{verdict[1:]}.")
    if json:
        sampling.save(json, plans)
    if not plans[0].fits:
        sys.exit(1)


@app.command(epilog="Example: actavatar plan encode --topology h100:1 --windows 500000")
def encode(
    topology: Topology,
    model: Annotated[Path | None, typer.Option(help="Model folder.")] = None,
    preset: Annotated[str | None, typer.Option(help="In its place; default: wan22_ti2v_5b.")] = None,
    frames: Annotated[int, typer.Option(help="Of a window, 4k+1.")] = 125,
    height: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")] = None,
    dtype: Dtype = "float32",
    audio_encoder: AudioEncoder = None,
    memory: Memory = "auto",
    windows: Annotated[int, typer.Option(help="Of the whole corpus.", min=1)] = 500_000,
    json: Annotated[Path | None, typer.Option(help="File for all figures.")] = None,
) -> None:
    """Compiles what encodes a window of a clip for a device that is not here: memory, time of a whole corpus."""
    import jax

    from actavatar_jax.planning import encoding

    _plan_only(jax)
    given = {"num_frames": frames, "height": height, "width": width}
    given = {name: value for name, value in given.items() if value is not None}
    work = _workload_of(model, preset, audio_encoder, given, (dtype,))
    plan = encoding.plan_encoding(work, topology, memory)
    print(encoding.describe(plan, windows))
    if json:
        encoding.save(json, plan)
    if not plan.fits:
        sys.exit(1)


def _workload_of(
    model: Path | None, preset: str | None, audio_encoder: Path | None, given: dict[str, Any], how: tuple[Any, ...]
) -> "Workload":
    from actavatar_jax.planning import sampling
    from actavatar_jax.runs.systems.actavatar import FULL_SIZE

    if model and preset:
        raise InputError("Give either --model or --preset, not both.")
    if model:
        system = sampling.System.of_folder(model, audio_encoder)
    else:
        system = sampling.System.of_preset(preset or FULL_SIZE)
    return sampling.Workload(system, system.defaults.sampling.changed(**given), *how)
