"""Which mesh, and what to change when a step does not fit: tried by compiling, not guessed."""

import math
from collections.abc import Callable, Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.parallel import check_fit, make_mesh
from actavatar_jax.planning import topology
from actavatar_jax.planning.training.planner import Plan, plan_training
from actavatar_jax.planning.training.workload import Workload

REMAT = ("none", "attention", "offload", "full")  # from the most memory to the least

Mesh = tuple[int, int, int]
Planner = Callable[[Workload, str, Mesh], Plan]


def search(
    workload: Workload,
    where: str,
    report: Callable[[int, int], None] = lambda done, total: None,
    planner: Planner = plan_training,
) -> list[Plan]:
    """Plans of all meshes of a cluster, the fastest first and those that do not fit last.

    Args:
      workload, where: as `plan_training` takes them.
      report: told the number of plans done, and of all.
      planner: makes one plan.

    Raises InputError, besides those of `plan_training`, where no mesh divides the batch and the model.
    """
    candidates = meshes(workload, where)
    if not candidates:
        raise InputError(
            f"No mesh of {where} divides a batch of {workload.batch_size} in {workload.training.micro_batches} parts, "
            "the attention heads and the latent frames; change data.batch_size or the topology."
        )
    plans = []
    for done, mesh in enumerate(candidates):
        report(done, len(candidates))
        plans.append(planner(workload, where, mesh))
    report(len(candidates), len(candidates))
    return sorted(plans, key=rank)


def rank(one: Plan) -> tuple:
    """Order of plans: fitting, fast, then with little to wait for that is not hidden, then small."""
    waiting = one.compute_seconds + one.link_seconds + one.network_seconds
    return (not one.fits, one.step_seconds if one.fits else one.peak, waiting, one.peak)


def meshes(workload: Workload, where: str) -> list[Mesh]:
    """All meshes of a cluster that divide the batch, the heads and the latent frames."""
    place = topology.parse(where)
    devices = topology.devices(place)
    fitting = []
    for shape in factorisations(len(devices)):
        try:
            for batch in filter(None, (workload.batch_size, workload.pairs)):
                check_fit(
                    make_mesh(shape, devices),
                    workload.network.config.heads,
                    batch=batch,
                    grid=workload.grid,
                    micro_batches=workload.training.micro_batches,
                )
        except InputError:
            continue
        fitting.append(shape)
    return fitting


def factorisations(devices: int) -> list[Mesh]:
    """All (data, fsdp, seq) whose product is the number of devices."""
    divisors = [n for n in range(1, devices + 1) if devices % n == 0]
    return [
        (data, fsdp, devices // data // fsdp) for data in divisors for fsdp in divisors if devices // data % fsdp == 0
    ]


def advise(workload: Workload, failed: Plan, planner: Planner = plan_training) -> Iterator[Plan]:
    """Plans after `failed`, until one fits or nothing is left to try; each starts from the smallest so far.

    In this order: what the backward pass keeps (`model.remat`), where the state is cut (meshes with one copy of it, the
    longest `seq` last), parts of the batch (`micro_batches`).
    """
    best = failed
    for changed, mesh in _remat(workload, best):
        yield (one := planner(changed, best.topology, mesh))
        if one.fits:
            return
        best = min(best, one, key=lambda p: p.peak)
    workload = workload.changed(remat=best.remat)
    for mesh in _one_copy(workload, best):
        yield (one := planner(workload, best.topology, mesh))
        if one.fits:
            return
        best = min(best, one, key=lambda p: p.peak)
    for parts in _parts(best):
        yield (one := planner(workload.changed(micro_batches=parts), best.topology, best.mesh))
        if one.fits:
            return


def _remat(workload: Workload, best: Plan) -> Iterator[tuple[Workload, Mesh]]:
    for policy in REMAT[REMAT.index(best.remat) + 1 :]:
        yield workload.changed(remat=policy), best.mesh


def _one_copy(workload: Workload, best: Plan) -> list[Mesh]:
    """Meshes whose `data` is as short as the slices allow: it alone copies the state."""
    candidates = meshes(workload, best.topology)
    shortest = min((mesh[0] for mesh in candidates), default=0)
    return [mesh for mesh in reversed(candidates) if mesh[0] == shortest and mesh != best.mesh]


def _parts(best: Plan) -> list[int]:
    share = best.batch // math.prod(best.mesh[:2])  # samples of a device
    return [n for n in range(best.micro_batches + 1, share + 1) if share % n == 0]
