"""Tensors that lie in files: safetensors, one file or shards with an index, read piece by piece.

Headers are read here (`header.py`) because the library does not tell byte ranges, and maps a file into memory as a
whole: here every tensor is a view or a stream of its own, so that a device's part, or 16 MiB, of a large one is all
that is in memory. PyTorch's own files (`pth.py`) are read in the same way.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import first_of, named, read_json
from actavatar_jax.weights.header import read_header

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

    def over(self, below: "Slots") -> "Slots":
        """These tensors, and those of `below` that have other names."""
        return Slots({**below._slots, **self._slots})


def _row_major(slot: Slot) -> tuple[int, ...]:
    return tuple(slot.dtype.itemsize * math.prod(slot.shape[i + 1 :]) for i in range(len(slot.shape)))


class Safetensors(Slots):
    """The tensors of one `.safetensors` file, or of the shards that a `.safetensors.index.json` names.

    `notes` are what the header of a single file says beside them.

    Raises:
      InputError: a file is missing, cut off or no safetensors file, or the index names tensors that are not there.
    """

    def __init__(self, path: Path):
        if path.name.endswith(".index.json"):
            self.notes: dict[str, str] = {}
            super().__init__(_read_index(path))
        else:
            slots, self.notes = _read_file(path)
            super().__init__(slots)


def _read_file(path: Path) -> tuple[dict[str, Slot], dict[str, str]]:
    placed, notes = read_header(path)
    return {name: Slot(path, one.offset, one.dtype, one.shape) for name, one in placed.items()}, notes


def _read_index(path: Path) -> dict[str, Slot]:
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, dict) or not all(map(_beside, weight_map.values())):
        raise InputError(
            f"{named(path)} is no index of safetensors shards; expected a weight_map of tensor and file names."
        )
    if absent := sorted(file for file in {*weight_map.values()} if not os.path.lexists(path.parent / file)):
        raise InputError(f"{named(path)} names shards that are missing beside it: {first_of(absent)}.")
    shards = {file: _read_file(path.parent / file)[0] for file in {*weight_map.values()}}
    if absent := [f"{name} ({file})" for name, file in weight_map.items() if name not in shards[file]]:
        raise InputError(f"{named(path)} names tensors that are not in their shards: {first_of(absent)}.")
    return {name: shards[file][name] for name, file in weight_map.items()}


def _beside(file: object) -> bool:
    """Whether it is the name of a file in the same folder."""
    return isinstance(file, str) and "\0" not in file and Path(file).name == file
