"""What one mesh of one cluster takes: the step of a workload compiled for it, and the figures read off the program."""

import dataclasses
import time
from typing import Any

from jax.sharding import Mesh

from actavatar_jax.models import forward_flops, train_flops
from actavatar_jax.parallel import AXES, check_fit, make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.planning.collectives import Collective, collectives
from actavatar_jax.planning.compiling import ABSENT, Memory, measure
from actavatar_jax.planning.training import program
from actavatar_jax.planning.training.workload import Workload


@dataclasses.dataclass(frozen=True)
class Plan:
    """Figures of one training step, whose program takes state and batch.

    Times are bounds: peak compute, and links as fast as they can be.
    """

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
    pairs: "Plan | None" = None  # of the step of pairs, where the training has one

    @property
    def peak(self) -> int:
        """Bytes of a device, in the step that takes more."""
        return max(self.memory.peak, self.pairs.peak if self.pairs else 0)

    @property
    def headroom(self) -> int:
        """Bytes of a device that are left; negative where a step does not fit."""
        return self.capacity - self.peak

    @property
    def fits(self) -> bool:
        return self.headroom >= 0

    @property
    def step_seconds(self) -> float:
        """Of the roofline: compute and both kinds of links work at the same time, the slowest decides."""
        return max(self.compute_seconds, self.link_seconds, self.network_seconds)

    def to_dict(self) -> dict[str, Any]:
        derived = {name: getattr(self, name) for name in ("fits", "peak", "headroom", "step_seconds")}
        return dataclasses.asdict(self) | derived | {"pairs": self.pairs and self.pairs.to_dict()}


def plan_training(workload: Workload, where: str, mesh: str | tuple[int, ...]) -> Plan:
    """Compiles the steps of a training for a cluster that need not be here: the usual one, and that of pairs if any.
    Takes a minute each; allocates nothing.

    Args:
      workload: see there.
      where: such as v5p:2x2x2, h200:8 or 2xv5p:4x4x4 (`planning/topology.py`).
      mesh: devices along data, fsdp and seq.

    Raises InputError for a topology that does not exist, a mesh that does not fit, or a compiler that is not installed.
    """
    place = topology.parse(where)
    devices = topology.devices(place)
    workload = workload.changed(platform=place.chip.platform)
    made = make_mesh(mesh, devices)
    plan = _plan_step(workload, place, made)
    return dataclasses.replace(plan, pairs=_plan_step(workload.of_pairs(), place, made)) if workload.pairs else plan


def _plan_step(workload: Workload, place: topology.Topology, made: Mesh) -> Plan:
    transformer, remat = workload.network.config, workload.network.execution.remat
    batch, grid, micro_batches = workload.batch_size, workload.grid, workload.training.micro_batches
    check_fit(made, transformer.heads, batch=batch, grid=grid, micro_batches=micro_batches)
    start = time.perf_counter()
    lowered = program.lower(workload, made)
    memory, compiled = measure(lowered, ABSENT[place.chip.platform])
    found = tuple(collectives(compiled.as_text(), made.size, place.slices)) if compiled else ()
    videos, forward = (2 if workload.paired else 1) * batch, forward_flops(transformer, grid)
    flops = videos * train_flops(transformer, grid, workload.backbone_is_frozen)
    flops += videos * forward if workload.paired else 0  # through the reference
    again = 0 if remat == "none" else videos * forward
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
