"""Headers of safetensors files: eight bytes of length, a JSON object {name: dtype, shape, byte range}, the data.

The rules are those of the format: https://github.com/huggingface/safetensors#format. Nothing is allocated by what a
header claims.
"""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named, parse_json, shown
from actavatar_jax.weights.files import ZIP, opened

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
LONGEST = 2**24  # bytes of a header: that of a model of 1,300 tensors has 150 kB
MOST_AXES = 8
MOST_ELEMENTS = 2**48


class Placed(NamedTuple):
    """Where one tensor lies in its file."""

    offset: int  # bytes from the file's beginning
    dtype: np.dtype
    shape: tuple[int, ...]


def read_header(path: Path) -> tuple[dict[str, Placed], dict[str, str]]:
    """The tensors of a file and its notes (`__metadata__`).

    Raises InputError, in one sentence, for a file that is missing or none of this kind, and for a header that breaks
    the format's rules: byte ranges lie one after the other, and fill the file to its end.
    """
    where = named(path)
    with opened(path) as (file, head):
        if head.startswith(ZIP):
            raise InputError(f"{where} is a zip archive, as PyTorch's own files are, and no safetensors file.")
        size, length = os.fstat(file.fileno()).st_size, int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise InputError(f"{where} is no safetensors file, or is cut off in its header ({size} bytes).")
        if length > LONGEST:
            raise InputError(f"{where} has a header of {length} bytes; accepted are at most {LONGEST}.")
        entries = parse_json(file.read(length), f"The safetensors header of {path}")
    try:
        notes = _notes(entries.pop("__metadata__", {}))
        ranges = {name: _entry(name, entry) for name, entry in entries.items()}
        end = _check_order(ranges)
    except ValueError as error:
        raise InputError(f"{where} has a broken safetensors header: {error}.") from error
    start = 8 + length
    if start + end != size:
        what = "is cut off" if start + end > size else "has bytes behind its last tensor"
        raise InputError(f"{where} {what}: its tensors need {start + end} bytes, the file has {size}.")
    return {name: Placed(start + begin, dtype, shape) for name, (begin, _, dtype, shape) in ranges.items()}, notes


def _notes(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError("its __metadata__ is no object of texts")
    return value


def _entry(name: str, entry: Any) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    """(begin, end, dtype, shape) of one tensor."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{shown(name)} needs dtype, shape and data_offsets")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise ValueError(f"{shown(name)} has the unknown dtype {shown(kind)}")
    if not (_whole(shape) and _whole(offsets) and len(offsets) == 2):
        raise ValueError(f"{shown(name)} has sizes or offsets that are no whole numbers from 0 on")
    if len(shape) > MOST_AXES or math.prod(max(1, side) for side in shape) > MOST_ELEMENTS:
        raise ValueError(f"{shown(name)} has a shape beyond all measure")
    if offsets[1] - offsets[0] != math.prod(shape) * DTYPES[kind].itemsize:
        raise ValueError(f"{shown(name)} does not fill its byte range")
    return offsets[0], offsets[1], DTYPES[kind], tuple(shape)


def _whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_order(ranges: dict[str, tuple[int, int, np.dtype, tuple[int, ...]]]) -> int:
    """Where the last range ends; ValueError unless they follow each other without gaps."""
    end = 0
    for name, (begin, stop, *_) in sorted(ranges.items(), key=lambda item: item[1][:2]):
        if begin != end:
            how = "overlaps with" if begin < end else "leaves a gap to"
            raise ValueError(f"{shown(name)} {how} the tensor before it")
        end = stop
    return end
