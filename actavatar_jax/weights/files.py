"""Tensor files: safetensors, one file or shards with an index, read and written one tensor at a time.

The format: eight bytes of header length, a JSON header of {name: dtype, shape, byte range}, the data. It is read here
and not by the library because the library's numpy side does not know bfloat16.
"""

import contextlib
import dataclasses
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ml_dtypes
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.models import functional
from actavatar_jax.weights import names

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
Progress = Callable[[int], Any]  # told the bytes of each tensor as it is written


@runtime_checkable
class Tensors(names.TensorSource, Protocol):
    """A source of tensors that also knows their dtypes, so that a file can be laid out before anything is read."""

    def dtype(self, name: str) -> np.dtype: ...


@dataclasses.dataclass(frozen=True)
class _Slot:
    """Where one tensor lies."""

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


class Safetensors:
    """The tensors of one `.safetensors` file, or of the shards that a `.safetensors.index.json` names.

    Raises:
      InputError: a file is missing, cut off or no safetensors file, or the index names tensors that are not there.
    """

    def __init__(self, path: Path):
        self._slots = _read_index(path) if path.name.endswith(".index.json") else _read_header(path)

    def names(self) -> list[str]:
        return list(self._slots)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._slots[name].shape

    def dtype(self, name: str) -> np.dtype:
        return self._slots[name].dtype

    def view(self, name: str) -> np.ndarray:
        """The tensor as a memory map (copy on write): read from disk when it is used."""
        slot = self._slots[name]
        size = math.prod(slot.shape) * slot.dtype.itemsize
        if size == 0:
            return np.empty(slot.shape, slot.dtype)
        data = np.memmap(slot.path, np.uint8, mode="c", offset=slot.offset, shape=(size,))
        return data.view(slot.dtype).reshape(slot.shape)

    def read(self, name: str) -> np.ndarray:
        return np.array(self.view(name), subok=False)


def _read_index(path: Path) -> dict[str, _Slot]:
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


def _read_header(path: Path) -> dict[str, _Slot]:
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
            slots[name] = _Slot(path, begin, DTYPES[entry["dtype"]], tuple(entry["shape"]))
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


@dataclasses.dataclass(frozen=True)
class Renamed:
    """`tensors` under other names: `old_names` maps each new name to the old one."""

    tensors: Tensors
    old_names: Mapping[str, str]

    def names(self) -> list[str]:
        return list(self.old_names)

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors.shape(self.old_names[name])

    def dtype(self, name: str) -> np.dtype:
        return self.tensors.dtype(self.old_names[name])

    def view(self, name: str) -> np.ndarray:
        return self.tensors.view(self.old_names[name])

    def read(self, name: str) -> np.ndarray:
        return self.tensors.read(self.old_names[name])


class Exported:
    """Our parameters as tensors of the other side, made one at a time when they are read."""

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

    def read(self, name: str) -> np.ndarray:
        return names.export_leaf(self._entries[name], self._flat[self._entries[name].ours])


def write_sharded(
    folder: Path,
    stem: str,
    tensors: Tensors,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    progress: Progress = lambda size: None,
) -> None:
    """Writes `{stem}.safetensors`, or shards and their index where one file would exceed `max_shard_bytes`.

    One tensor is in memory at a time. Names and metadata are those that diffusers and transformers expect.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[list[str]] = [[]]
    filled = 0
    for name in tensors.names():
        if shards[-1] and filled + nbytes(tensors, name) > max_shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += nbytes(tensors, name)
    if len(shards) == 1:
        _write_file(folder / f"{stem}.safetensors", shards[0], tensors, progress)
        return
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors"
        _write_file(folder / file, shard, tensors, progress)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(nbytes(tensors, name) for name in tensors.names())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / f"{stem}.safetensors.index.json", index)


def _write_file(path: Path, shard: list[str], tensors: Tensors, progress: Progress) -> None:
    # Wide types first, as the library does: every tensor stays aligned to its own item size.
    shard = sorted(shard, key=lambda name: (-tensors.dtype(name).itemsize, name))
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
            data = np.asarray(tensors.read(name), order="C")
            if (data.shape, data.dtype) != (tensors.shape(name), tensors.dtype(name)):
                raise ValueError(f"{name} was announced as {tensors.dtype(name)}{tensors.shape(name)}")
            file.write(data.reshape(-1).view(np.uint8).data)
            progress(data.nbytes)


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
