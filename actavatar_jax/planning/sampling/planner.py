"""What a video takes on a machine: its programs compiled, their memory beside the weights that stay, bounds of time."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax

from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution, self_attention_form
from actavatar_jax.parallel import AXES, check_fit, make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.planning.chips import Chip
from actavatar_jax.planning.collectives import collectives
from actavatar_jax.planning.compiling import ABSENT, measure
from actavatar_jax.planning.sampling.program import Place, Program, Programs, device_bytes
from actavatar_jax.planning.sampling.workload import Workload
from actavatar_jax.weights import COMPONENTS, DEVICE, HOST, device_memory, leaving, parse_size

DISK = 1e9  # bytes/s at which weights are read from files: an assumption


@dataclasses.dataclass(frozen=True)
class Measured:
    """A program and what one run of it takes of a device."""

    stage: str  # of `Programs.makers`
    name: str
    part: str
    times: int  # in a video
    inside: int  # bytes besides all weights: inputs, results, what is alive in between, code
    seconds: float  # of the roofline: computing, weights read, and links work at the same time; 0: chip not known
    compile_seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """Figures of one video, bytes of one device."""

    where: str
    mesh: tuple[int, ...] | None  # data, fsdp, seq
    size: tuple[int, int]  # height, width
    frames: int
    tokens: int
    branches: int
    dtype: str
    quantize: str | None
    attention: str
    capacity: int
    weights: Mapping[str, int]  # by part
    stored: int  # bytes of all parts in files
    programs: tuple[Measured, ...]  # all of them, unless one was asked for first and does not fit

    @property
    def residences(self) -> dict[str, str]:
        """Where each part waits between its uses."""
        away = leaving(self.weights, self.capacity, self.working) if self.mesh is None else ()
        return {part: HOST if part in away else DEVICE for part in self.weights}

    @property
    def working(self) -> dict[str, int]:
        """The most that programs of each part take besides weights."""
        return {part: max((p.inside for p in self.programs if p.part == part), default=0) for part in self.weights}

    def total(self, program: Measured) -> int:
        """Bytes while it runs: itself, its part, and the parts that stay."""
        there = {part for part, place in self.residences.items() if place == DEVICE} | {program.part}
        return sum(self.weights[part] for part in there) + program.inside

    @property
    def worst(self) -> Measured:
        """The program at the peak."""
        return max(self.programs, key=self.total)

    @property
    def peak(self) -> int:
        return self.total(self.worst)

    @property
    def headroom(self) -> int:
        """Bytes that are left; negative where the video does not fit."""
        return self.capacity - self.peak

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def seconds(self) -> float:
        """Of the whole video, from weights in memory, or more."""
        return sum(program.times * program.seconds for program in self.programs)

    @property
    def load_seconds(self) -> float:
        """To read the weights, at `DISK`."""
        return self.stored / DISK

    @property
    def compile_seconds(self) -> float:
        return sum(program.compile_seconds for program in self.programs)

    def to_dict(self) -> dict[str, Any]:
        names = ("residences", "peak", "headroom", "fits", "seconds", "load_seconds", "compile_seconds")
        derived = {name: getattr(self, name) for name in names}
        totals = [dataclasses.asdict(program) | {"total": self.total(program)} for program in self.programs]
        return dataclasses.asdict(self) | derived | {"programs": totals}


def plan_sampling(
    work: Workload,
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
    place = Place(make_mesh(mesh, devices) if mesh else None, devices[0], ABSENT[chip.platform] or None)
    work = dataclasses.replace(work, platform=chip.platform)
    capacity = chip.memory if memory == "auto" else parse_size(memory)
    return _plan(work, place, str(found), capacity, first, chip, found.slices)


def plan_here(work: Workload, mesh: Any = None, memory: str = "auto", first: str | None = None) -> Plan:
    """The same of the devices that are here: afterwards the programs of `ActAvatarPipeline` are compiled, for this
    process. There are no times."""
    capacity = device_memory() if memory == "auto" else parse_size(memory)
    return _plan(work, Place(mesh), jax.local_devices()[0].device_kind, capacity, first)


def _plan(
    work: Workload,
    place: Place,
    where: str,
    capacity: int,
    first: str | None,
    chip: Chip | None = None,
    slices: int = 1,
) -> Plan:
    config, mesh = work.system.configs["transformer"], place.mesh
    if mesh is not None:
        check_fit(mesh, config.heads, batch=None, grid=work.grid)
    programs, tokens, branches = Programs(work, place), config.tokens(work.grid), len(work.guidance.branches)
    execution = programs.networks["transformer"].execution
    axes = None if mesh is None else mesh.shape
    plan = Plan(
        where=where,
        mesh=None if mesh is None else tuple(mesh.shape[axis] for axis in AXES),
        size=work.size,
        frames=work.sampling.num_frames,
        tokens=tokens,
        branches=branches,
        dtype=work.dtype,
        quantize=work.quantize,
        attention=self_attention_form(
            execution, config.heads, config.head_dim, samples=branches, tokens=tokens, mesh=axes
        ),
        capacity=capacity,
        weights={part: device_bytes(programs.params[part]) for part in COMPONENTS},
        stored=sum(device_bytes(work.stored(part)) for part in COMPONENTS),
        programs=(),
    )
    for stage in sorted(programs.makers, key=lambda stage: stage != first):
        measured = tuple(_measure(stage, one, programs, chip, slices) for one in programs.makers[stage]())
        plan = dataclasses.replace(plan, programs=plan.programs + measured)
        if first and not plan.fits:
            break
    return plan


def _measure(stage: str, program: Program, programs: Programs, chip: Chip | None, slices: int) -> Measured:
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
