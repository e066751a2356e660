"""Data onto the mesh, from one process or many: each process holds the samples that its devices need."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int

from actavatar_jax.errors import InputError
from actavatar_jax.parallel.rules import batch_shardings


def local_rows(mesh: Mesh, batch_size: int) -> Int[np.ndarray, " rows"]:
    """Which samples of a global batch this process must load, ascending.

    Processes along `seq` load the same samples, and each puts its own frames on its devices. Raises InputError when
    `batch_size` does not divide by data x fsdp.
    """
    parts = mesh.devices.reshape(-1, mesh.shape["seq"])
    if batch_size % len(parts):
        raise InputError(f"A batch of {batch_size} does not divide by data x fsdp = {len(parts)}.")
    ours = [i for i, row in enumerate(parts) if any(d.process_index == jax.process_index() for d in row)]
    return np.arange(batch_size).reshape(len(parts), -1)[ours].reshape(-1)


def place_batch(batch: Mapping[str, Any], mesh: Mesh) -> dict[str, jax.Array]:
    """A batch of host arrays as global arrays on the mesh.

    Args:
      batch: `make_train_step`'s; the samples `local_rows` in their order, which in a single process are all.
    """
    shardings = batch_shardings(mesh, batch)
    if jax.process_count() == 1:
        return jax.device_put(dict(batch), shardings)
    parts = mesh.size // mesh.shape["seq"]
    share = len(local_rows(mesh, parts))
    return {
        name: jax.make_array_from_process_local_data(
            shardings[name], np.asarray(rows), (len(rows) * parts // share, *np.shape(rows)[1:])
        )
        for name, rows in batch.items()
    }


def place_array(value: Any, sharding: NamedSharding) -> jax.Array:
    """A whole array, the same in every process, cut as `sharding` says; at home already, it is left where it is."""
    if isinstance(value, jax.Array) and not value.is_fully_addressable:
        return jax.device_put(value, sharding)
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    host = np.asarray(value)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def replicate(value: Any, mesh: Mesh) -> Any:
    """`value`, such as the run's key, whole on every device: what a step takes beside its state and batch."""
    return jax.device_put(value, NamedSharding(mesh, PartitionSpec()))


def share_values(values: Any, mesh: Mesh | None) -> Any:
    """A tree of host arrays, whole on every device; None is the usual single one.

    Each process has made them by itself, perhaps with other last bits: those of the first one count. All of them must
    call this.
    """
    values = multihost_utils.broadcast_one_to_all(values)
    if mesh is None:
        return jax.device_put(values)
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda value: place_array(value, whole), values)


def to_host(value: jax.Array) -> np.ndarray:
    """The whole array, in every process; all of them must call this."""
    if value.is_fully_addressable:
        return np.asarray(value)
    return multihost_utils.process_allgather(value, tiled=True)
