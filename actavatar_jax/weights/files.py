"""Tensor files: safetensors, one file or shards with an index, read and written piece by piece.

The format: eight bytes of header length, a JSON header of {name: dtype, shape, byte range}, the data. It is read here
and not by the library because the library's numpy side does not know bfloat16.
"""

import contextlib
import dataclasses
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ml_dtypes
import numpy as np

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.weights import arrays, names

DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}
MAX_SHARD_BYTES = 5_000_000_000
PIECE_BYTES = 2**24
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


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where one tensor lies in a file."""

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None  # in bytes; `None`: row-major without gaps


class Slots:
    """Tensors that lie in files; nothing stays mapped into memory beyond the views that are in use.

    A tensor that has been read already stands for itself.
    """

    def __init__(self, slots: Mapping[str, Slot | np.ndarray]):
        self._slots = slots

    def names(self) -> list[str]:
        return list(self._slots)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._slots[name].shape

    def dtype(self, name: str) -> np.dtype:
        return self._slots[name].dtype

    def view(self, name: str) -> np.ndarray:
        """The tensor as a memory map (copy on write): read from disk when it is used."""
        slot = self._slots[name]
        if isinstance(slot, np.ndarray):
            return slot
        if math.prod(slot.shape) == 0:
            return np.empty(slot.shape, slot.dtype)
        strides = slot.strides or _row_major(slot)
        span = slot.dtype.itemsize + sum((n - 1) * stride for n, stride in zip(slot.shape, strides, strict=True))
        data = np.memmap(slot.path, np.uint8, mode="c", offset=slot.offset, shape=(span,))
        return np.ndarray(slot.shape, slot.dtype, buffer=data, strides=strides)

    def read(self, name: str) -> np.ndarray:
        return np.array(self.view(name))

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        slot = self._slots[name]
        if slot.strides is not None:
            yield self.read(name)
            return
        with slot.path.open("rb") as file:  # a memory map would count as the process's memory
            file.seek(slot.offset)
            left = nbytes(self, name)
            while left:
                data = file.read(min(left, PIECE_BYTES))
                if not data:
                    raise OSError(f"{slot.path} became shorter while it was read")
                left -= len(data)
                yield np.frombuffer(data, slot.dtype)

    def renamed(self, old_names: Mapping[str, str]) -> "Slots":
        """Some of the tensors under other names: `old_names` maps each new name to the old one."""
        return Slots({new: self._slots[old] for new, old in old_names.items()})


def _row_major(slot: Slot) -> tuple[int, ...]:
    return tuple(slot.dtype.itemsize * math.prod(slot.shape[i + 1 :]) for i in range(len(slot.shape)))


class Safetensors(Slots):
    """The tensors of one `.safetensors` file, or of the shards that a `.safetensors.index.json` names.

    Raises:
      InputError: a file is missing, cut off or no safetensors file, or the index names tensors that are not there.
    """

    def __init__(self, path: Path):
        super().__init__(_read_index(path) if path.name.endswith(".index.json") else _read_header(path))


def _read_index(path: Path) -> dict[str, Slot]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or any(Path(str(file)).name != file for file in weight_map.values()):
        raise InputError(f"{path} is no index of safetensors shards; expected a weight_map of tensor and file names.")
    missing = sorted(file for file in set(weight_map.values()) if not (path.parent / file).is_file())
    if missing:
        raise InputError(f"{path} names shards that are missing beside it: {', '.join(missing)}.")
    shards = {file: _read_header(path.parent / file) for file in set(weight_map.values())}
    absent = [f"{name} ({file})" for name, file in weight_map.items() if name not in shards[file]]
    if absent:
        raise InputError(f"{path} names tensors that are not in their shards: {', '.join(absent)}.")
    return {name: shards[file][name] for name, file in weight_map.items()}


def _read_header(path: Path) -> dict[str, Slot]:
    if not path.is_file():
        raise InputError(f"The file {path} is missing.")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if not 8 < start <= size:
            raise InputError(f"{path} is no safetensors file, or is cut off in its header ({size} bytes).")
        header = file.read(start - 8)
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        slots, end = {}, start
        for name, entry in entries.items():
            begin, stop = (start + int(offset) for offset in entry["data_offsets"])
            slots[name] = Slot(path, begin, DTYPES[entry["dtype"]], tuple(entry["shape"]))
            if begin < start or stop - begin != math.prod(entry["shape"]) * DTYPES[entry["dtype"]].itemsize:
                raise ValueError(f"{name} does not fill its byte range")
            end = max(end, stop)
    except KeyError as error:
        raise InputError(f"{path} has a header that is not understood: no such key or dtype {error}.") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} has a broken safetensors header: {error}.") from error
    if end > size:
        raise InputError(f"{path} is cut off: its tensors need {end} bytes, the file has {size}.")
    return slots


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
        _write_file(folder / f"{stem}.safetensors", shards[0], tensors, progress)
        return
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors"
        _write_file(folder / file, shard, tensors, progress)
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
    # Wide types first, as the library does: every tensor stays aligned to its own item size.
    return [sorted(shard, key=lambda name: (-tensors.dtype(name).itemsize, name)) for shard in shards]


def _write_file(path: Path, shard: list[str], tensors: Tensors, progress: Progress) -> None:
    dtype_names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; `InputError` if the file is missing or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"The file {path} is missing.") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON file: {error}.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a JSON {type(value).__name__}; expected an object.")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    with replaced_file(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` when the block ends without an error."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to fill; it takes the place of `path` when the block ends without an error."""
    partial, old = (path.with_name(f".{path.name}.{word}") for word in ("partial", "old"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        partial.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
