"""What a video takes on a machine: its programs compiled, and their figures read off."""

import dataclasses
import time
from typing import Any

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution, self_attention_form
from actavatar_jax.parallel import AXES, check_fit, make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.planning.chips import Chip
from actavatar_jax.planning.collectives import collectives
from actavatar_jax.planning.compiling import ABSENT, measure
from actavatar_jax.planning.sampling.echomimic import AnyWorkload, EchoMimicPrograms, EchoMimicWorkload
from actavatar_jax.planning.sampling.plan import Measured, Plan
from actavatar_jax.planning.sampling.program import Place, Program, Programs, VideoPrograms, device_bytes
from actavatar_jax.weights import device_memory, parse_size


def plan_sampling(
    work: AnyWorkload,
    where: str,
    mesh: str | tuple[int, ...] | None = None,
    memory: str = "auto",
    first: str | None = None,
) -> Plan:
    """Compiles what makes a video for a machine that need not be here. Takes minutes; allocates nothing.

    Args:
      work: the video.
      where: such as h100:1, v6e:1 or h200:8 (`planning/topology.py`).
      mesh: devices along data, fsdp and seq; None where there is only one.
      memory: of one device, `auto` (the chip's) or such as 24GB.
      first: the stage of `Programs.makers` that is compiled first; if it does not fit, it remains the only one.

    Raises InputError for a topology that does not exist, a mesh that does not fit, or a compiler that is not installed.
    """
    found = topology.parse(where)
    devices = topology.devices(found)
    chip = found.chip
    if mesh is None and len(devices) > 1:
        raise InputError(
            f"{found} has {len(devices)} devices; give a mesh that cuts the video over them, such as 1,2,4."
        )
    at = {"mesh": make_mesh(mesh, devices)} if mesh else {"device": devices[0]}
    place = Place(**at, options=ABSENT[chip.platform] or None)
    work = dataclasses.replace(work, platform=chip.platform)
    capacity = chip.memory if memory == "auto" else parse_size(memory)
    return _plan(work, place, str(found), capacity, first, chip, found.slices)


def programs_of(work: AnyWorkload, place: Place) -> VideoPrograms:
    """What its system's pipeline calls."""
    return (EchoMimicPrograms if isinstance(work, EchoMimicWorkload) else Programs)(work, place)


def plan_here(work: AnyWorkload, mesh: Any = None, memory: str = "auto", first: str | None = None) -> Plan:
    """The same of the devices that are here: afterwards the programs of `ActAvatarPipeline` are compiled, for this
    process. There are no times."""
    capacity = device_memory() if memory == "auto" else parse_size(memory)
    return _plan(work, Place(mesh), jax.local_devices()[0].device_kind, capacity, first)


def _plan(
    work: AnyWorkload,
    place: Place,
    where: str,
    capacity: int,
    first: str | None,
    chip: Chip | None = None,
    slices: int = 1,
) -> Plan:
    mesh, programs = place.mesh, programs_of(work, place)
    network = programs.networks["transformer"]
    config, execution = network.config, network.execution
    if mesh is not None:
        check_fit(mesh, config.heads, batch=None, grid=work.grid)
    tokens, branches = config.tokens(work.grid), work.branches
    axes = None if mesh is None else mesh.shape
    plan = Plan(
        where=where,
        mesh=None if mesh is None else tuple(mesh.shape[axis] for axis in AXES),
        size=work.size,
        frames=work.sampling.num_frames,
        at_once=work.at_once,
        tokens=tokens,
        branches=branches,
        dtype=work.dtype,
        quantize=work.quantize,
        attention=self_attention_form(
            execution, config.heads, config.head_dim, samples=branches, tokens=tokens, mesh=axes
        ),
        capacity=capacity,
        weights={part: device_bytes(programs.params[part]) for part in work.parts},
        stored=sum(device_bytes(work.stored(part)) for part in work.parts),
        programs=(),
    )
    for stage in sorted(programs.makers, key=lambda stage: stage != first):
        measured = tuple(measure_program(stage, one, programs, chip, slices) for one in programs.makers[stage]())
        plan = dataclasses.replace(plan, programs=plan.programs + measured)
        if first and not plan.fits:
            break
    return plan


def measure_program(
    stage: str, program: Program, programs: VideoPrograms, chip: Chip | None, slices: int = 1
) -> Measured:
    """Compiles one of the programs. Without `chip` there are no times."""
    start = time.perf_counter()
    lowered, flops = program.lower()
    memory, compiled = measure(lowered, programs.place.options)
    weights = device_bytes(programs.params[program.part])
    inputs = device_bytes(program.arguments) - weights
    read = weights if compiled is None else memory.arguments - inputs  # a program need not read all of its part
    seconds = 0.0
    if chip:
        how = programs.networks[program.part].execution or Execution()
        seconds = max(flops / chip.peak_of(how), read / chip.bandwidth)
        if compiled is not None and program.mesh is not None:
            sent = collectives(compiled.as_text(), program.mesh.size, slices)
            seconds = max(
                seconds,
                sum(c.bytes for c in sent if not c.across) / chip.link,
                sum(c.bytes for c in sent if c.across) / chip.network,
            )
    return Measured(
        stage=stage,
        name=program.name,
        part=program.part,
        times=program.times,
        inside=max(memory.peak - read, 0),
        seconds=seconds,
        compile_seconds=time.perf_counter() - start,
    )
