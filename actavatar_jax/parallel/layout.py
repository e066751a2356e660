"""Where activations lie on a mesh of devices: the few constraints that the models state, and nothing without a mesh.

The mesh is the one that `jax.set_mesh` has set, with the axes `data`, `fsdp` and `seq` (`parallel/mesh.py`). Batches
are cut over `data` and `fsdp`, latent frames (and with them video tokens and audio) over `seq`; self-attention needs
every token, so there heads are cut over `seq` instead (Ulysses, arXiv 2309.14509). An axis that does not divide a
dimension leaves it whole: `parallel.mesh.check_fit` refuses such a mesh where it would cost.

B batch, T latent frames, L video tokens, N heads, K head dim, H W latent height and width, C channels.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

BATCH = ("data", "fsdp")
SEQ = "seq"
ALL = (*BATCH, SEQ)

Axes = str | tuple[str, ...] | None  # of the mesh, along one dimension of an array

log = logging.getLogger(__name__)


def constrain(x: Array, *axes: Axes) -> Array:
    """`x` with its leading dimensions cut over these mesh axes and the others whole; `x` itself without a mesh."""
    return jax.lax.with_sharding_constraint(x, fitting(x.shape, axes)) if _sizes() else x


def tokens_to_heads(
    q: Float[Array, "B L N K"], k: Float[Array, "B L N K"], v: Float[Array, "B L N K"]
) -> tuple[Array, Array, Array]:
    """Queries, keys and values cut by tokens -> cut by heads, all three in one all-to-all."""
    if _sizes().get(SEQ, 1) == 1:
        return q, k, v
    together = constrain(jnp.stack([q, k, v]), None, BATCH, SEQ)
    q, k, v = constrain(together, None, BATCH, None, SEQ)
    return q, k, v


def per_device(function: Callable[..., Array], *arrays: Array | None, axes: Sequence[Sequence[Axes]]) -> Array:
    """`function(*arrays)`, every device on its own part of the arrays and without talking to others.

    `axes` has the mesh axes of every array's dimensions, and last those of the result, whose shape is the first
    array's. Fused kernels need this: XLA cannot cut them.
    """
    if not _sizes():
        return function(*arrays)
    *into, out = axes
    specs = tuple(None if x is None else fitting(x.shape, a) for x, a in zip(arrays, into, strict=True))
    out = fitting(arrays[0].shape, out)
    # What kernels do cannot be checked for variation over the mesh.
    return jax.shard_map(function, in_specs=specs, out_specs=out, check_vma=False)(*arrays)


def spread_space(x: Float[Array, "B T H W C"]) -> Float[Array, "B T H W C"]:
    """Pictures cut over all devices by rows where they divide, else by columns; whole, with a log line, if neither."""
    devices = math.prod(_sizes().values())
    if devices == 1:
        return x
    height, width = x.shape[2:4]
    if height % devices == 0:
        return constrain(x, None, None, ALL)
    if width % devices == 0:
        return constrain(x, None, None, None, ALL)
    log.info(
        "Frames of %dx%d are whole on each of the %d devices, whose number divides no side.", height, width, devices
    )
    return constrain(x)


def fitting(shape: Sequence[int], axes: Sequence[Axes]) -> PartitionSpec:
    """The partition of an array of this shape: of each dimension's axes the leading ones whose product divides it."""
    sizes = _sizes()
    entries = []
    for size, names in zip(shape, axes, strict=False):
        names = (names,) if isinstance(names, str) else names or ()
        count = max(n for n in range(len(names) + 1) if size % math.prod(sizes[name] for name in names[:n]) == 0)
        entries.append(names[:count] or None)
    return PartitionSpec(*entries)


def result_shapes(lowered: jax.stages.Lowered, options: dict | None = None) -> Any:
    """What a program gives, as shapes: for lowering another that takes it. On a mesh they say how they are cut, for
    which the program is compiled."""
    if not _sizes():
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), lowered.out_info)
    places = lowered.compile(options).output_shardings
    return jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), lowered.out_info, places)


def _sizes() -> dict[str, int]:
    """Devices along each axis of the mesh that is set; empty without one."""
    return dict(jax.sharding.get_abstract_mesh().shape)
