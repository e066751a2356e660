"""Large arrays in slabs: into host memory or straight into sharded device arrays, and back.

No step holds a second copy of a whole leaf on the host: what is on the way is one slab of a file, or one shard.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Int

SLAB_BYTES = 2**22  # small enough that a transposed slab stays in the processor's caches
HOST_BYTES = 2**28  # of one slab that comes back from devices

Index = tuple[slice, ...]


def fill(out: np.ndarray, view: Callable[[], np.ndarray]) -> None:
    """Copies `view()` into `out` (same shape, any dtype) slab by slab, in the order in which the bytes lie in `view()`.

    `view` makes a fresh view for every slab: the pages of a memory map leave the process together with the view.
    """
    whole = view()
    if whole.shape != out.shape:
        raise ValueError(f"a tensor of shape {whole.shape} does not fill {out.shape}")
    if whole.size == 0 or whole.ndim == 0:
        _copy(out, whole)
        return
    axis = int(np.argmax(np.abs(whole.strides)))
    length = whole.shape[axis]
    step = max(1, SLAB_BYTES * length // whole.nbytes)
    del whole
    for start in range(0, length, step):
        slab = (slice(None),) * axis + (slice(start, start + step),)
        _copy(out[slab], view()[slab])


def _copy(out: np.ndarray, value: np.ndarray) -> None:
    if value.dtype != out.dtype:
        value = value.astype(out.dtype)  # keeps the order of the axes in memory
    # As plain integers: numpy copies bfloat16 element by element through a slow path.
    bits = np.dtype(f"u{out.dtype.itemsize}")
    out.view(bits)[...] = value.view(bits)


def assemble(
    shape: Sequence[int],
    dtype: np.dtype,
    sharding: jax.sharding.Sharding | None,
    read: Callable[[np.ndarray, Index], None],
) -> np.ndarray | jax.Array:
    """A leaf made of what `read(out, index)` fills in: a host array, or with `sharding` a device array.

    Each process reads the parts that its own devices hold, one at a time, and equal parts once.
    """
    if sharding is None:
        out = np.empty(tuple(shape), dtype)
        read(out, (slice(None),) * out.ndim)
        return out
    holders: dict[tuple[tuple[int, int], ...], list[jax.Device]] = {}
    for device, index in sharding.addressable_devices_indices_map(tuple(shape)).items():
        holders.setdefault(_bounds(index, shape), []).append(device)
    parts = []
    for bounds, devices in holders.items():
        out = np.empty([stop - start for start, stop in bounds], dtype)
        read(out, tuple(slice(start, stop) for start, stop in bounds))
        for device in devices:
            place = jax.sharding.SingleDeviceSharding(device, memory_kind=sharding.memory_kind)
            parts.append(jax.device_put(out, place))
        jax.block_until_ready(parts)  # transfers that queue up would hold their host copies
    return jax.make_array_from_single_device_arrays(tuple(shape), sharding, parts)


def rows(leaf: Any, start: int, stop: int) -> np.ndarray:
    """`leaf[start:stop]` on the host. Over several processes each of them calls it, and each gets the whole of it.

    A device array keeps every host copy that is made of it; so a slice is copied, never the array itself.
    """
    if isinstance(leaf, np.ndarray):
        return leaf[start:stop]
    if not leaf.is_fully_addressable:
        return multihost_utils.process_allgather(_slice(leaf, start, stop - start), tiled=True)
    out = np.empty((stop - start, *leaf.shape[1:]), leaf.dtype)
    for shard in leaf.addressable_shards:
        (first, last), *rest = _bounds(shard.index, leaf.shape)
        low, high = max(start, first), min(stop, last)
        if shard.replica_id == 0 and low < high:
            place = (slice(low - start, high - start), *(slice(*bounds) for bounds in rest))
            _copy(out[place], np.asarray(_slice(shard.data, low - first, high - low)))
    return out


def slabs(leaf: Any) -> Iterator[np.ndarray]:
    """A leaf of at least one axis, as consecutive slabs of its rows on the host."""
    step = max(1, HOST_BYTES * leaf.shape[0] // max(1, math.prod(leaf.shape) * leaf.dtype.itemsize))
    for start in range(0, leaf.shape[0], step):
        yield rows(leaf, start, min(start + step, leaf.shape[0]))


@functools.partial(jax.jit, static_argnums=2)
def _slice(leaf: jax.Array, start: Int[Array, ""], size: int) -> jax.Array:
    return jax.lax.dynamic_slice_in_dim(leaf, start, size)


def _bounds(index: Index, shape: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(part.indices(size)[:2] for part, size in zip(index, shape, strict=True))
