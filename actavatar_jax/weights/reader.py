"""Tensors that lie in files: safetensors, one file or shards with an index, read piece by piece.

The format: eight bytes of header length, a JSON header of {name: dtype, shape, byte range}, the data. The header is
read here because the library does not tell byte ranges, and maps a file into memory as a whole: here every tensor is a
view or a stream of its own, so that a device's part, or 16 MiB, of a large one is all that is in memory. PyTorch's own
files (`pth.py`) are read in the same way. What is wrong with a broken file is said in a sentence.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import read_json

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
PIECE_BYTES = 2**24


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
            left = math.prod(slot.shape) * slot.dtype.itemsize
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
