"""Safetensors written piece by piece: one file, or shards with an index.

The library writes a file of arrays that are all in memory, up to 5 GB here; this one of pieces that are made when they
are asked for: slabs of sharded parameters, or bytes of another file. The files are the library's, byte for byte.
"""

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from actavatar_jax import functional
from actavatar_jax.storage import replaced_file, write_json
from actavatar_jax.weights import arrays, names
from actavatar_jax.weights.header import DTYPES

MAX_SHARD_BYTES = 5_000_000_000
Progress = Callable[[int], Any]  # told the bytes of each piece as it is written


@runtime_checkable
class Tensors(Protocol):
    """Tensors to write: a file is laid out before anything is read, then each flows through it in pieces."""

    def names(self) -> list[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> np.dtype: ...

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """The elements of a tensor in row-major order, as consecutive arrays of any shape."""
        ...


class Exported:
    """Our parameters, on the host or on devices, as tensors of the other side: made when they are asked for."""

    def __init__(self, table: names.Table, params: functional.Params):
        names.check_coverage(table, params)
        self._flat = functional.flatten(params)
        self._entries = {entry.theirs: entry for entry in table}

    def names(self) -> list[str]:
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return names.their_shape(self._entries[name], self._flat[self._entries[name].ours].shape)

    def dtype(self, name: str) -> np.dtype:
        return np.dtype(self._flat[self._entries[name].ours].dtype)

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        entry = self._entries[name]
        leaf = self._flat[entry.ours]
        if entry.transform is names.IDENTITY and entry.layer is None and leaf.ndim:
            return arrays.slabs(leaf)  # a token embedding is too large to come to the host in one piece
        return iter([names.export_leaf(entry, leaf)])


def write_sharded(
    folder: Path,
    stem: str,
    tensors: Tensors,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress = lambda size: None,
) -> None:
    """Writes `{stem}.safetensors`, or shards and their index where one file would exceed `max_shard_bytes`.

    One piece is in memory at a time. Names and metadata are those that diffusers and transformers expect.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(tensors, max_shard_bytes)
    if len(shards) == 1:
        write_file(folder / f"{stem}.safetensors", shards[0], tensors, progress)
        return
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors"
        write_file(folder / file, shard, tensors, progress)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(nbytes(tensors, name) for name in tensors.names())
    index = {"metadata": {"total_size": total}, "weight_map": {name: weight_map[name] for name in tensors.names()}}
    write_json(folder / f"{stem}.safetensors.index.json", index)


def read_along(tensors: Tensors, *, max_shard_bytes: int = MAX_SHARD_BYTES) -> None:
    """Asks for every piece in the order of `write_sharded`, for a process that only helps the one that writes."""
    for shard in _shards(tensors, max_shard_bytes):
        for name in shard:
            for _ in tensors.pieces(name):
                pass


def _shards(tensors: Tensors, max_shard_bytes: int) -> list[list[str]]:
    """Names per file, in the order in which they are written."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name in tensors.names():
        if shards[-1] and filled + nbytes(tensors, name) > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += nbytes(tensors, name)
    return [in_file_order(shard, tensors) for shard in shards]


def in_file_order(shard: Iterable[str], tensors: Tensors) -> list[str]:
    """Wide types first, as the library does: every tensor stays aligned to its own item size."""
    return sorted(shard, key=lambda name: (-tensors.dtype(name).itemsize, name))


def write_file(
    path: Path,
    shard: list[str],
    tensors: Tensors,
    progress: Progress = lambda size: None,
    metadata: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Writes one file with the tensors named in `shard`, in that order."""
    dtype_names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    for name in shard:
        begin, end = end, end + nbytes(tensors, name)
        dtype, shape = dtype_names[tensors.dtype(name)], list(tensors.shape(name))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with replaced_file(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in shard:
            write_pieces(file, tensors, name, progress)


def write_pieces(file: io.BufferedIOBase, tensors: Tensors, name: str, progress: Progress) -> None:
    """Writes the bytes of one tensor to an open file."""
    size = 0
    for piece in tensors.pieces(name):
        if piece.dtype != tensors.dtype(name):
            raise ValueError(f"{name} was announced as {tensors.dtype(name)} and is {piece.dtype}")
        data = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
        file.write(data)
        size += len(data)
        progress(len(data))
    if size != nbytes(tensors, name):
        raise ValueError(f"{name} was announced with {nbytes(tensors, name)} bytes and has {size}")


def nbytes(tensors: Tensors, name: str) -> int:
    """Size of one tensor of a source; it is not read."""
    return math.prod(tensors.shape(name)) * tensors.dtype(name).itemsize
