"""PyTorch's own files (`.pth`, `.bin`): flat dicts of tensors. Needs the `torch` extra, from torch 2.7 on.

A file is a zip archive of a pickle, which names every tensor's storage, and the storages. PyTorch reads and writes the
pickle here with tensors that have no content (its FakeTensorMode and `skip_data`) and says where each storage lies.
The content then flows piece by piece, and is never in memory as a whole.
"""

import contextlib
import logging
import pickle
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named, replaced_file, shown
from actavatar_jax.weights.files import ZIP, is_safetensors, opened
from actavatar_jax.weights.header import DTYPES
from actavatar_jax.weights.reader import Slot, Slots
from actavatar_jax.weights.writer import Progress, Tensors, write_pieces

log = logging.getLogger(__name__)

CHECKPOINT = "state_dict"  # where a training's checkpoint holds the tensors, as PyTorch Lightning writes it
PICKLE = b"\x80"  # how files older than torch 1.6 begin
_DTYPES = {f"torch.{dtype.name}": dtype for dtype in DTYPES.values()}


class Pth(Slots):
    """The tensors of a PyTorch file; nothing of it is unpickled beyond tensors.

    Raises:
      InputError: the file is missing, damaged, or holds anything but a flat dict of tensors, or torch is not installed.
    """

    def __init__(self, path: Path):
        with opened(path) as (_, head):
            if is_safetensors(head):
                raise InputError(f"{named(path)} is a safetensors file under the name of a PyTorch file; rename it.")
            if not head.startswith((ZIP, PICKLE)):
                raise InputError(f"{named(path)} is no PyTorch file of tensors: it begins with {head[:8]!r}.")
        torch = _torch(path)
        if head.startswith(ZIP):
            super().__init__(_slots(torch, path))
        else:
            log.info("%s is no zip archive (older than torch 1.6): it is read into memory as a whole", path)
            super().__init__({name: _to_numpy(torch, tensor) for name, tensor in _load(torch, path).items()})


def write_pth(path: Path, tensors: Tensors, progress: Progress = lambda size: None) -> None:
    """Writes a flat state dict that `torch.load` reads; one piece of a tensor is in memory at a time.

    Raises:
      InputError: torch is not installed.
    """
    torch = _torch(path)
    with replaced_file(path) as partial:
        with _without_content(torch):
            state = {
                name: torch.empty(tensors.shape(name), dtype=getattr(torch, tensors.dtype(name).name))
                for name in tensors.names()
            }
        # To an open file: torch would name the archive inside after the temporary path.
        with torch.serialization.skip_data(materialize_fake_tensors=True), partial.open("wb") as file:
            torch.save(state, file)
        slots = _slots(torch, partial)
        with partial.open("r+b") as file:
            for name in tensors.names():
                file.seek(slots[name].offset)
                write_pieces(file, tensors, name, progress)


def _slots(torch: ModuleType, path: Path) -> dict[str, Slot]:
    """Where every tensor of a zipped file lies."""
    members = _members(path)
    with _without_content(torch):
        state = _load(torch, path)
    slots = {}
    for name, tensor in state.items():
        storage, item = tensor.untyped_storage(), tensor.element_size()
        start, strides = storage._checkpoint_offset, tuple(item * stride for stride in tensor.stride())
        first = item * tensor.storage_offset()
        end = first + item + sum((n - 1) * stride for n, stride in zip(tensor.shape, strides, strict=True))
        # An archive that another tool packed may lie otherwise than torch reckons.
        if members.get(start) != storage.nbytes() or (tensor.numel() and end > storage.nbytes()):
            raise _packed_anew(path)
        dtype, shape = _DTYPES[str(tensor.dtype)], tuple(tensor.shape)
        slots[name] = Slot(path, start + first, dtype, shape, None if tensor.is_contiguous() else strides)
    return slots


def _members(path: Path) -> dict[int, int]:
    """Where the uncompressed members of an archive begin -> their bytes."""
    members = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            for info in archive.infolist():
                if "/code/" in info.filename:
                    raise InputError(
                        f"{named(path)} is a TorchScript program, which is never run; accepted is a dict of tensors."
                    )
                if info.compress_type != zipfile.ZIP_STORED:  # it could have any size
                    raise _packed_anew(path)
                if info.filename.endswith("/byteorder") and archive.read(info) != b"little":
                    raise InputError(
                        f"{named(path)} holds big-endian numbers; write it anew on a little-endian machine."
                    )
                file.seek(info.header_offset + 26)  # lengths of name and extra field in the member's own header
                name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
                members[info.header_offset + 30 + name + extra] = info.file_size
    except InputError:
        raise
    except Exception as error:  # of damaged bytes it may be any
        raise _unreadable(path, error) from error
    return members


def _load(torch: ModuleType, path: Path) -> dict[str, Any]:
    """A flat dict of tensors as torch reads it; of a training's checkpoint its weights."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch then tells how to load it all the same
        raise InputError(
            f"{named(path)} is no PyTorch file of tensors: it is cut off, or holds other objects, which are never "
            "loaded because they can run code."
        ) from error
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise _unreadable(path, error) from error
    if isinstance(state, dict) and isinstance(state.get(CHECKPOINT), dict):
        state = state[CHECKPOINT]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{named(path)} holds no flat dict of tensors.")
    for name, tensor in state.items():
        if tensor.layout != torch.strided or str(tensor.dtype) not in _DTYPES:
            raise InputError(
                f"{named(path)} holds {shown(name)} as {tensor.layout} of {tensor.dtype}; accepted are dense real "
                "numbers."
            )
    return {str(name): tensor for name, tensor in state.items()}


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = shown(str(error).split("\n")[0] or type(error).__name__)
    return InputError(f"{named(path)} is no PyTorch file of tensors, or is cut off ({reason}).")


def _packed_anew(path: Path) -> InputError:
    return InputError(f"{named(path)} is damaged or was packed anew: its tensors are not where torch keeps them.")


def _to_numpy(torch: ModuleType, tensor: Any) -> np.ndarray:
    content = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()  # NumPy has no bfloat16 of its own
    return content.view(_DTYPES[str(tensor.dtype)]).reshape(tuple(tensor.shape))


def _without_content(torch: ModuleType) -> contextlib.AbstractContextManager:
    """Tensors made within have a dtype, a shape and a place in a file alone."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode()


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{named(path)} is a PyTorch file and PyTorch is not installed; install actavatar-jax[torch]."
        ) from error
    return torch
