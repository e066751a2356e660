"""What to change when a video does not fit: tried by compiling, not guessed."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from actavatar_jax.errors import InputError
from actavatar_jax.planning import topology
from actavatar_jax.planning.sampling.echomimic import AnyWorkload
from actavatar_jax.planning.sampling.plan import Plan
from actavatar_jax.planning.sampling.workload import LARGE

SIDES = (0.75, 0.5)  # of those that were asked for
LENGTHS = (0.75, 0.5, 0.25)  # likewise, in latent frames
MOST = 8  # devices that are suggested

Planner = Callable[[AnyWorkload], Plan]


def advise(work: AnyWorkload, failed: Plan, plan: Planner) -> Iterator[Plan]:
    """Plans of the same machine after `failed`; those that fit are what one may choose from.

    In this order: quantized weights, where they can help; and with them, if they did not do, a smaller picture and
    fewer frames that are made at once. Of either the least is tried first: where not even that fits, more of it does
    not.
    """
    if work.quantize is None and (failed.mesh or failed.worst.part in LARGE):
        work = dataclasses.replace(work, quantize="int8")
        yield (one := plan(work))
        if one.fits:
            return
    for family in (_smaller(work), _shorter(work)):
        yield from _most(family, plan)


def advise_devices(failed: Plan, plan: Callable[[str, tuple[int, ...]], Plan]) -> Iterator[Plan]:
    """Plans of more devices of the same kind, which share the frames of the video, until one fits."""
    for where, mesh in _more_devices(failed):
        try:
            yield (one := plan(where, mesh))
        except InputError:  # frames or heads do not divide
            continue
        if one.fits:
            return


def _most(family: Sequence[AnyWorkload], plan: Planner) -> Iterator[Plan]:
    """`family` from the most to the least."""
    if not family:
        return
    *more, least = family
    yield (one := plan(least))
    if one.fits:
        for work in more:
            yield (one := plan(work))
            if one.fits:
                return


def _smaller(work: AnyWorkload) -> list[AnyWorkload]:
    """Of the sizes that the model was trained on, if those are known."""
    multiple, area = work.multiple, math.prod(work.size)
    scaled = [tuple(int(side * share) // multiple * multiple for side in work.size) for share in SIDES]
    sizes = sorted(work.sizes or scaled, key=math.prod, reverse=True)
    return [work.changed(height=size[0], width=size[1]) for size in sizes if 0 < math.prod(size) < area]


def _shorter(work: AnyWorkload) -> list[AnyWorkload]:
    """Likewise of lengths that are made at once."""
    later = work.grid[0] - 1  # latent frames after the first, of four frames each
    shares = [4 * int(later * share) + 1 for share in LENGTHS]
    lengths = sorted(work.lengths or shares, reverse=True)
    return [shorter for length in lengths if length > 1 and (shorter := work.shortened(length)) is not None]


def _more_devices(failed: Plan) -> Iterator[tuple[str, tuple[int, ...]]]:
    found = topology.parse(failed.where)
    has = 1 if failed.mesh is None else len(topology.devices(found))
    for shape in found.chip.shapes or ("2", "4", "8"):
        where = f"{found.chip.name}:{shape}"
        count = len(topology.devices(topology.parse(where)))
        mesh = (1, 1, count)
        if has <= count <= MOST and mesh != failed.mesh:
            yield where, mesh
