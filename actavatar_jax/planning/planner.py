"""What one mesh of one cluster takes: the step of a workload compiled for it, and the figures read off the program."""

import dataclasses
import logging
import re
import time
from typing import Any

import jax

from actavatar_jax.models.flops import forward_flops, train_flops
from actavatar_jax.parallel.mesh import AXES, check_fit, make_mesh
from actavatar_jax.planning import program, topology
from actavatar_jax.planning.chips import GIB, Chip
from actavatar_jax.planning.collectives import Collective, collectives
from actavatar_jax.planning.workload import Workload

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device. Of a program that the compiler refuses as too large, only the peak is known."""

    peak: int  # the program and the most that is alive at once
    arguments: int | None = None  # state and batch
    temporaries: int | None = None  # whatever else is alive at the peak
    output: int | None = None
    alias: int | None = None  # of the output, in the place of arguments
    host: int | None = None  # of the host, for what is offloaded


@dataclasses.dataclass(frozen=True)
class Plan:
    """Figures of one training step. Times are bounds: peak compute, and links as fast as they can be."""

    topology: str
    mesh: tuple[int, ...]  # data, fsdp, seq
    batch: int
    micro_batches: int
    remat: str
    attention: str
    capacity: int  # bytes of a device for programs
    memory: Memory
    collectives: tuple[Collective, ...]
    flops: int  # of the model, all devices, without recomputation
    compute_seconds: float  # with a second forward pass, unless `remat` keeps everything
    link_seconds: float
    network_seconds: float
    compile_seconds: float

    @property
    def headroom(self) -> int:
        """Bytes of a device that are left; negative where the step does not fit."""
        return self.capacity - self.memory.peak

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def step_seconds(self) -> float:
        """Of the roofline: compute and both kinds of links work at the same time, the slowest decides."""
        return max(self.compute_seconds, self.link_seconds, self.network_seconds)

    def to_dict(self) -> dict[str, Any]:
        derived = {name: getattr(self, name) for name in ("fits", "headroom", "step_seconds")}
        return dataclasses.asdict(self) | derived


def plan_training(workload: Workload, where: str, mesh: str | tuple[int, ...]) -> Plan:
    """Compiles the training step of a workload for a cluster that need not be here. Takes a minute; allocates nothing.

    Args:
      workload: see there.
      where: such as v5p:2x2x2, h200:8 or 2xv5p:4x4x4 (`planning/topology.py`).
      mesh: devices along data, fsdp and seq.

    Raises InputError for a topology that does not exist, a mesh that does not fit, or a compiler that is not installed.
    """
    place = topology.parse(where)
    devices = topology.devices(place)
    workload = workload.changed(platform=place.chip.platform)
    transformer, remat = workload.network.config, workload.network.execution.remat
    batch, grid, micro_batches = workload.batch_size, workload.grid, workload.training.micro_batches
    made = make_mesh(mesh, devices)
    check_fit(made, transformer.heads, batch=batch, grid=grid, micro_batches=micro_batches)
    start = time.perf_counter()
    lowered = program.lower(workload, made)
    memory, found = _compile(lowered, place.chip, made.size, place.slices)
    flops = batch * train_flops(transformer, grid, workload.backbone_is_frozen)
    again = 0 if remat == "none" else batch * forward_flops(transformer, grid)
    return Plan(
        topology=str(place),
        mesh=tuple(made.shape[axis] for axis in AXES),
        batch=batch,
        micro_batches=micro_batches,
        remat=remat,
        attention=program.attention_form(workload, made),
        capacity=place.chip.memory,
        memory=memory,
        collectives=found,
        flops=flops,
        compute_seconds=(flops + again) / (made.size * place.chip.peak),
        link_seconds=sum(c.bytes for c in found if not c.across) / place.chip.link,
        network_seconds=sum(c.bytes for c in found if c.across) / place.chip.network,
        compile_seconds=time.perf_counter() - start,
    )


def _compile(
    lowered: jax.stages.Lowered, chip: Chip, devices: int, slices: int
) -> tuple[Memory, tuple[Collective, ...]]:
    try:
        compiled = lowered.compile(program.COMPILER_OPTIONS[chip.platform])
    except jax.errors.JaxRuntimeError as error:
        needed = too_large(str(error))
        if needed is None:
            raise
        return Memory(peak=needed), ()
    stats = compiled.memory_analysis()
    # `temp_size_in_bytes` of a TPU program is more than is alive at once: libtpu compiles programs for v6e (31.25 GiB)
    # whose arguments and temporaries add up to 42, and begins to save memory where the peak comes near to 31.
    memory = Memory(
        peak=stats.peak_memory_in_bytes + stats.generated_code_size_in_bytes,
        arguments=stats.argument_size_in_bytes,
        temporaries=stats.peak_memory_in_bytes - stats.argument_size_in_bytes,
        output=stats.output_size_in_bytes,
        alias=stats.alias_size_in_bytes,
        host=stats.host_temp_size_in_bytes,
    )
    return memory, tuple(collectives(compiled.as_text(), devices, slices))


def too_large(message: str) -> int | None:
    """Bytes that a compiler says a program needs, in its error about too little memory; None in any other error."""
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    found = re.search(r"Used ([\d.]+)([KMGT]) of|\(([\d.]+)([KMGT])\) exceeds", message)
    if not found:
        return None
    number, unit = [part for part in found.groups() if part]
    return int(float(number) * {"K": 2**10, "M": 2**20, "G": GIB, "T": 2**40}[unit])
