"""The mesh: devices along `data` (copies of the model), `fsdp` (parts of the model) and `seq` (parts of a clip)."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh

from actavatar_jax.errors import InputError

AXES = ("data", "fsdp", "seq")


def make_mesh(shape: Sequence[int] | str, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of all these devices (default: all there are), neighbours along `seq` closest to each other.

    Args:
      shape: devices along data, fsdp and seq, as (2, 4, 1) or "2,4,1"; one of them may be -1: what is left.
      devices: of this machine, or compile-only ones. TPU slices are put along `data`, which alone suits slow links.

    Raises:
      InputError: no three such numbers, their product is not the number of devices, or slices do not divide `data`.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = _sizes(shape, len(devices))
    slices = len({getattr(device, "slice_index", 0) for device in devices}) if devices[0].platform == "tpu" else 1
    if sizes[0] % slices:
        raise InputError(
            f"The mesh {_text(sizes)} has {sizes[0]} along data, but there are {slices} slices of TPUs; data must be "
            "a multiple of them."
        )
    if slices > 1:
        inner = (sizes[0] // slices, *sizes[1:])
        grid = mesh_utils.create_hybrid_device_mesh(inner, (slices, 1, 1), devices, allow_split_physical_axes=True)
    elif devices[0].platform == "tpu":
        grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    else:  # listed process by process, so that `seq` and then `fsdp` stay within a machine
        grid = np.asarray(devices).reshape(sizes)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def local_part(mesh: Mesh | None) -> Mesh | None:
    """For what every process computes by itself: a mesh of its own devices, all along fsdp, where `mesh` has others."""
    if mesh is None or not mesh.is_multi_process:
        return mesh
    return Mesh(np.reshape(mesh.local_devices, (1, -1, 1)), AXES, axis_types=mesh.axis_types)


def use_mesh(mesh: Mesh | None) -> AbstractContextManager:
    """For `with`: programs inside are cut over the mesh; None is the usual single device."""
    return nullcontext() if mesh is None else jax.set_mesh(mesh)


def check_fit(
    mesh: Mesh | AbstractMesh,
    heads: int,
    *,
    batch: int | None,
    grid: tuple[int, int, int],
    micro_batches: int = 1,
) -> None:
    """InputError, with every misfit in it, when training or sampling would not divide over the mesh.

    Args:
      heads: of the model's attention.
      batch: samples over all devices; None: any number, of which some devices may compute the same ones.
      grid: latent (T, H, W).
      micro_batches: parts in which the batch is computed, each of them cut over data and fsdp.
    """
    data, fsdp, seq = (mesh.shape[axis] for axis in AXES)
    misfits = []
    if heads % seq:
        misfits.append(f"{heads} attention heads do not divide by seq = {seq}")
    if grid[0] % seq:
        misfits.append(f"{grid[0]} latent frames do not divide by seq = {seq}")
    if batch is not None and batch % (data * fsdp * micro_batches):
        parts = f"data x fsdp = {data * fsdp}" + (f" in {micro_batches} micro-batches" if micro_batches > 1 else "")
        misfits.append(f"a batch of {batch} does not divide by {parts}")
    if misfits:
        raise InputError(f"The mesh {data},{fsdp},{seq} (data,fsdp,seq) does not fit: {'; '.join(misfits)}.")


def _sizes(shape: Sequence[int] | str, devices: int) -> tuple[int, ...]:
    """Three numbers whose product is the number of devices."""
    try:
        sizes = [int(size) for size in (shape.split(",") if isinstance(shape, str) else shape)]
    except ValueError:
        sizes = []
    open_places = sizes.count(-1)
    if len(sizes) != len(AXES) or open_places > 1 or any(size < 1 and size != -1 for size in sizes):
        raise InputError(
            f'"{_text(shape)}" is no mesh; give the devices along data, fsdp and seq, such as "2,4,1", one of which '
            "may be -1: all that are left."
        )
    known = math.prod(size for size in sizes if size != -1)
    if open_places and devices % known == 0:
        sizes[sizes.index(-1)] = devices // known
    if math.prod(sizes) != devices:
        raise InputError(
            f"The mesh {_text(sizes)} (data,fsdp,seq) needs {'a multiple of ' if open_places else ''}{known} devices; "
            f"there are {devices}."
        )
    return tuple(sizes)


def _text(shape: Sequence[int] | str) -> str:
    return shape if isinstance(shape, str) else ",".join(map(str, shape))
