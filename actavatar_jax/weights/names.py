"""Invertible name tables: one list of entries is both the import from and the export to a PyTorch layout.

A table is a tuple of `Entry`s, made by a function of the model config (`weights/tables/*.py`). Our parameters are a
flat dict `{"blocks/self_attn/query/kernel": array}`; where ours stacks layers on a leading axis and the other side
has one tensor per layer, `layer` says which row an entry fills.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.weights import arrays
from actavatar_jax.weights.misfits import refuse_misfits


@dataclasses.dataclass(frozen=True)
class Transform:
    """A lossless re-layout of one tensor, with its inverse."""

    to_ours: Callable[[np.ndarray], np.ndarray]
    to_theirs: Callable[[np.ndarray], np.ndarray]


def transpose(*axes: int) -> Transform:
    """Ours has their axes in the order `axes`."""
    inverse = tuple(int(i) for i in np.argsort(axes))
    return Transform(lambda x: x.transpose(axes), lambda x: x.transpose(inverse))


def reshape(theirs: Sequence[int], ours: Sequence[int]) -> Transform:
    """Same elements in the same order under another shape."""
    return Transform(lambda x: x.reshape(ours), lambda x: x.reshape(theirs))


def chain(first: Transform, second: Transform) -> Transform:
    """`first`, then `second`, on the way to ours."""
    return Transform(lambda x: second.to_ours(first.to_ours(x)), lambda x: first.to_theirs(second.to_theirs(x)))


NOTHING = r"(?!)"  # a regex without a match
IDENTITY = Transform(lambda x: x, lambda x: x)
LINEAR = transpose(1, 0)  # [out, in] <-> [in, out]
CONV1D = transpose(2, 1, 0)  # [O, I, k] <-> [k, I, O]
CONV2D = transpose(2, 3, 1, 0)  # [O, I, kh, kw] <-> [kh, kw, I, O]
CONV3D = transpose(2, 3, 4, 1, 0)  # [O, I, kt, kh, kw] <-> [kt, kh, kw, I, O]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor of theirs = one of our leaves, or row `layer` of one."""

    theirs: str
    ours: str
    transform: Transform = IDENTITY
    layer: int | None = None


Table = tuple[Entry, ...]


def linear(theirs: str, ours: str, layer: int | None = None, bias: bool = True) -> list[Entry]:
    """The entries of one linear layer."""
    entries = [Entry(f"{theirs}.weight", f"{ours}/kernel", LINEAR, layer)]
    return entries + [Entry(f"{theirs}.bias", f"{ours}/bias", IDENTITY, layer)] * bias


def norm(theirs: str, ours: str, layer: int | None = None) -> list[Entry]:
    """The entries of one norm with gain and bias."""
    return [
        Entry(f"{theirs}.weight", f"{ours}/scale", IDENTITY, layer),
        Entry(f"{theirs}.bias", f"{ours}/bias", IDENTITY, layer),
    ]


@runtime_checkable
class TensorSource(Protocol):
    """Tensors by name. A view of a tensor in a file is a memory map: what is not used is not read."""

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> np.dtype: ...

    def view(self, name: str) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A source of tensors that are in memory already, such as a PyTorch state dict as NumPy arrays."""

    arrays: Mapping[str, np.ndarray]

    def names(self) -> list[str]:
        return list(self.arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.arrays[name].shape

    def dtype(self, name: str) -> np.dtype:
        return self.arrays[name].dtype

    def view(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        yield self.arrays[name]


def import_params(
    table: Table,
    abstract: functional.Params,
    source: TensorSource,
    *,
    dtype: Any = None,
    shardings: functional.Params | None = None,
    float32: str = NOTHING,
    initial: functional.Params | None = None,
    may_miss: str = NOTHING,
    revise: Callable[[str, Any], Any] = lambda name, leaf: leaf,
    only: Collection[str] | None = None,
    model: str = "the model",
) -> functional.Params:
    """Reads the parameters of `abstract` from `source`, leaf by leaf.

    Args:
      table: names; must cover `abstract` exactly (a programming error otherwise).
      abstract: nested dict of shapes, from `functional.abstract`.
      source: where tensors come from.
      dtype: dtype of the result; `None` keeps each tensor's own, and of a stacked leaf the widest of its layers'.
      shardings: nested dict of `jax.sharding.Sharding`, one for each leaf that is read: every process reads only the
        parts that its devices hold, straight into device arrays. `None`: host arrays.
      float32: regex of our names that `dtype` does not concern: they become float32.
      initial: values for our leaves that match `may_miss` and are absent from `source`.
      may_miss: regex of our names.
      revise: what becomes of a leaf, by its name, before the next one is read.
      only: our names of the leaves that are read; `None`: all. The check is of all in any case.
      model: what the error calls the model.

    Raises:
      InputError: as `check_source`.
    """
    check_coverage(table, abstract)
    check_source(table, abstract, source, may_miss=may_miss, model=model)
    every = functional.flatten(abstract)
    shapes = {name: tuple(leaf.shape) for name, leaf in every.items() if only is None or name in only}
    places = dict.fromkeys(shapes) if shardings is None else functional.flatten(shardings)
    if places.keys() != shapes.keys():
        raise ValueError(f"shardings and model disagree about {sorted(places.keys() ^ shapes.keys())}")
    values = functional.flatten(initial or {})
    names, entries = set(source.names()), {}
    for e in table:
        if e.theirs in names:
            entries.setdefault(e.ours, []).append(e)

    def wanted(ours: str, own: Any) -> np.dtype:
        return np.dtype(own if dtype is None else np.float32 if re.fullmatch(float32, ours) else dtype)

    flat: dict[str, Any] = {}
    # Largest first: a device on the host takes a copy of what was read, and by then the small leaves are not there yet.
    for ours in sorted(shapes, key=lambda name: -math.prod(shapes[name])):
        if ours in entries:
            stored = _widest({source.dtype(e.theirs) for e in entries[ours]})
            read = functools.partial(_read, source, entries[ours])
            flat[ours] = arrays.assemble(shapes[ours], wanted(ours, stored), places[ours], read)
        else:
            value = values[ours].astype(wanted(ours, values[ours].dtype), copy=False)
            flat[ours] = np.asarray(value) if places[ours] is None else jax.device_put(value, places[ours])
        flat[ours] = revise(ours, flat[ours])
    return functional.unflatten({name: flat[name] for name in shapes})


def _widest(dtypes: set[np.dtype]) -> np.dtype:
    """What holds the numbers of all these types, of which there are many: 8 and 16 bits of several kinds."""
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return np.dtype(np.float64 if np.dtype(np.float64) in dtypes else np.float32)


def _read(source: TensorSource, entries: list[Entry], out: np.ndarray, index: arrays.Index) -> None:
    """Fills `out` with the part `index` of the leaf that `entries` (all its layers, in order) make up."""

    def view(entry: Entry, index: arrays.Index) -> np.ndarray:
        return entry.transform.to_ours(source.view(entry.theirs))[*index, ...]

    if entries[0].layer is None:
        arrays.fill(out, functools.partial(view, entries[0], index))
        return
    for row, entry in enumerate(entries[index[0]]):
        arrays.fill(out[row, ...], functools.partial(view, entry, index[1:]))


def check_source(
    table: Table,
    abstract: functional.Params,
    source: TensorSource,
    *,
    may_miss: str = NOTHING,
    model: str = "the model",
) -> None:
    """Raises `InputError` for tensors that are missing, unknown, of another shape or no floating-point numbers.

    All of them are counted in it, and the first of each kind named; arguments as in `import_params`.
    """
    shapes = functional.flatten(abstract)
    names, known = set(source.names()), {e.theirs for e in table}
    whole = {e.ours for e in table} - {e.ours for e in table if e.theirs in names}  # leaves without any tensor
    optional = {ours for ours in whole if re.fullmatch(may_miss, ours)}
    missing = [e.theirs for e in table if e.theirs not in names and e.ours not in optional]
    shaped, wholes = {}, []
    for e in table:
        if e.theirs in names:
            found, expected = tuple(source.shape(e.theirs)), their_shape(e, shapes[e.ours].shape)
            if found != expected:
                shaped[e.theirs] = found, expected
            elif source.dtype(e.theirs).kind in "iub":
                wholes.append(e.theirs)
    refuse_misfits(model, missing, sorted(names - known), shaped, wholes)


def export_params(table: Table, params: functional.Params) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(their name, tensor)` in table order, one tensor at a time; `table` must cover `params` exactly."""
    check_coverage(table, params)
    flat = functional.flatten(params)
    for e in table:
        yield e.theirs, export_leaf(e, flat[e.ours])


def export_leaf(entry: Entry, leaf: Any) -> np.ndarray:
    """The tensor of theirs that `entry` makes of its leaf, on the host."""
    if leaf.ndim == 0:
        ours = np.asarray(leaf)
    elif entry.layer is None:
        ours = arrays.rows(leaf, 0, leaf.shape[0])
    else:
        ours = arrays.rows(leaf, entry.layer, entry.layer + 1)[0, ...]
    theirs = entry.transform.to_theirs(ours)
    if theirs.flags.c_contiguous:
        return theirs
    out = np.empty(theirs.shape, theirs.dtype)
    arrays.fill(out, lambda: theirs)
    return out


def their_shape(entry: Entry, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape on their side of a leaf that has `shape` on ours; nothing is allocated."""
    ours = tuple(shape) if entry.layer is None else tuple(shape)[1:]
    return entry.transform.to_theirs(_Shape(ours)).shape


class _Shape:
    """The shape half of an array: what transforms use of it."""

    def __init__(self, shape: Sequence[int]):
        self.shape = tuple(shape)

    def transpose(self, axes: Sequence[int]) -> "_Shape":
        return _Shape([self.shape[a] for a in axes])

    def reshape(self, shape: Sequence[int]) -> "_Shape":
        return _Shape(shape)


def check_shapes(params: functional.Params, abstract: functional.Params) -> None:
    """Raises `ValueError` unless `params` has the leaves and shapes of `abstract`."""
    have, want = ({n: x.shape for n, x in functional.flatten(tree).items()} for tree in (params, abstract))
    problems = [f"{n} {have.get(n)}, expected {want.get(n)}" for n in sorted(have | want) if have.get(n) != want.get(n)]
    if problems:
        raise ValueError("parameters and config disagree: " + "; ".join(problems))


def check_coverage(table: Table, abstract: functional.Params) -> None:
    """Raises `ValueError` unless the table names each leaf (each layer of it) of `abstract` once, and nothing else."""
    shapes = functional.flatten(abstract)
    seen: dict[str, list[int | None]] = {}
    for e in table:
        seen.setdefault(e.ours, []).append(e.layer)
    problems = [f"no entry for {name}" for name in shapes if name not in seen]
    problems += [f"entry for unknown {name}" for name in seen if name not in shapes]
    for name, layers in seen.items():
        if name in shapes and layers != [None] and layers != list(range(shapes[name].shape[0])):
            problems.append(f"layers {layers} of {name}")
    if len({e.theirs for e in table}) != len(table):
        problems.append("a name of theirs stands twice")
    if problems:
        raise ValueError("name table and model disagree: " + "; ".join(problems))
