"""PyTorch's own files (`.pth`, `.bin`): flat dicts of tensors. Needs the `torch` extra."""

import zipfile
from pathlib import Path
from types import ModuleType

import ml_dtypes
import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.weights.files import Renamed, Safetensors, replaced_file
from actavatar_jax.weights.names import Arrays

# dtypes that numpy does not have travel as integers of the same width.
_CARRIERS = {"bfloat16": (np.int16, ml_dtypes.bfloat16), "float8_e4m3fn": (np.uint8, ml_dtypes.float8_e4m3fn)}


class Pth(Arrays):
    """The tensors of a PyTorch file, mapped into memory and not unpickled beyond tensors.

    Raises:
      InputError: torch is not installed, or the file is missing or holds no flat dict of tensors.
    """

    def __init__(self, path: Path):
        torch = _torch(path)
        if not path.is_file():
            raise InputError(f"The file {path} is missing.")
        try:  # files older than torch 1.6 are no zip archives and cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except Exception as error:  # damaged bytes make the unpickler raise anything
            reason = str(error).split("\n")[0]
            raise InputError(f"{path} is no PyTorch file of tensors, or is cut off: {reason}") from error
        if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
            raise InputError(f"{path} holds no flat dict of tensors.")
        super().__init__({str(name): _to_numpy(value) for name, value in state.items()})


def write_pth(path: Path, tensors: Safetensors | Pth | Renamed) -> None:
    """Writes a flat state dict that `torch.load` reads; tensors flow from their memory maps to the file."""
    torch = _torch(path)
    state = {name: _to_torch(torch, tensors.view(name)) for name in tensors.names()}
    with replaced_file(path) as partial:
        torch.save(state, partial)


def _to_numpy(tensor) -> np.ndarray:
    tensor = tensor.detach()
    carrier = _CARRIERS.get(str(tensor.dtype).removeprefix("torch."))
    if carrier is None:
        return tensor.numpy()
    import torch

    return tensor.view(getattr(torch, np.dtype(carrier[0]).name)).numpy().view(carrier[1])


def _to_torch(torch: ModuleType, array: np.ndarray):
    carrier = _CARRIERS.get(array.dtype.name)
    if carrier is None:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(carrier[0])).view(getattr(torch, array.dtype.name))


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"{path} is a PyTorch file and PyTorch is not installed; install actavatar-jax[torch]."
        ) from error
    return torch
