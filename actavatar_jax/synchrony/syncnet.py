"""SyncNet as it is run: its authors' file read, a clip seen and heard in pieces of one size. D features."""

import functools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, UInt8

from actavatar_jax import functional
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import Execution
from actavatar_jax.models.syncnet import WINDOW, SyncNet
from actavatar_jax.storage import named
from actavatar_jax.weights import names
from actavatar_jax.weights.pth import Pth
from actavatar_jax.weights.tables import syncnet as table

AT_ONCE = 16  # windows; a program is compiled once, and memory does not grow with the clip


def load_syncnet(path: str | Path) -> "LoadedSyncNet":
    """The network of `syncnet_v2.model`, its authors' PyTorch file.

    Raises:
      InputError: the file is missing or damaged, its tensors are not SyncNet's, or PyTorch is not installed.
    """
    tensors = Pth(Path(path))
    tensors = tensors.renamed({name: name for name in tensors.names() if table.canonical(name)})
    config = table.read_config(tensors)
    params = names.import_params(
        table.original(config),
        functional.abstract(SyncNet, config),
        tensors,
        dtype=np.float32,
        model=f"the SyncNet of {named(path)}",
    )
    return LoadedSyncNet(Network(SyncNet, config, Execution(precision="highest")), params)


@dataclass(frozen=True, eq=False)
class LoadedSyncNet:
    """A network with its parameters."""

    network: Network
    params: Params

    def see(self, faces: Iterable[UInt8[np.ndarray, "224 224 3"]], every: int = 1) -> Float32[np.ndarray, "windows D"]:
        """Features of the runs of five faces, in RGB, that begin with face 0, every, 2 every, ...; there must be
        five or more. Few are held at a time."""
        if every > 1:
            return self._see_apart(faces, every)
        held, features = [], []
        for face in faces:
            held.append(face)
            if len(held) == AT_ONCE + WINDOW - 1:
                features.append(self._see(held))
                held = held[AT_ONCE:]
        if len(held) >= WINDOW:
            features.append(self._see(held))
        return np.concatenate(features)

    def hear(self, cepstra: Float64[np.ndarray, "windows 13 20"]) -> Float32[np.ndarray, "windows D"]:
        """Features of one or more windows of sound."""
        features = []
        for start in range(0, len(cepstra), AT_ONCE):
            piece = cepstra[start : start + AT_ONCE].astype(np.float32)
            full = np.pad(piece, ((0, AT_ONCE - len(piece)), (0, 0), (0, 0)))
            features.append(np.asarray(_hear(self.network, self.params, full))[: len(piece)])
        return np.concatenate(features)

    def _see_apart(
        self, faces: Iterable[UInt8[np.ndarray, "224 224 3"]], every: int
    ) -> Float32[np.ndarray, "windows D"]:
        held, windows, features = deque(maxlen=WINDOW), [], []
        for number, face in enumerate(faces):
            held.append(face)
            if number >= WINDOW - 1 and (number - WINDOW + 1) % every == 0:
                windows.append(np.stack(held))
            if len(windows) == AT_ONCE:
                features.append(self._see_windows(windows))
                windows = []
        if windows:
            features.append(self._see_windows(windows))
        return np.concatenate(features)

    def _see_windows(self, windows: list[UInt8[np.ndarray, "5 224 224 3"]]) -> Float32[np.ndarray, "windows D"]:
        full = np.pad(np.stack(windows), ((0, AT_ONCE - len(windows)), *[(0, 0)] * 4))
        return np.asarray(_see_apart(self.network, self.params, full))[: len(windows)]

    def _see(self, faces: list[UInt8[np.ndarray, "224 224 3"]]) -> Float32[np.ndarray, "windows D"]:
        missing = AT_ONCE + WINDOW - 1 - len(faces)
        frames = np.pad(np.stack(faces), ((0, missing), (0, 0), (0, 0), (0, 0)))
        return np.asarray(_see(self.network, self.params, frames))[: len(faces) - WINDOW + 1]


@functools.partial(jax.jit, static_argnums=0)
def _see(network: Network, params: Params, frames: UInt8[Array, "F 224 224 3"]) -> Float32[Array, "F-4 D"]:
    # OpenCV, by which its authors read pictures, puts blue first.
    return network.bind(params).lips(frames[..., ::-1].astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def _see_apart(network: Network, params: Params, windows: UInt8[Array, "N 5 224 224 3"]) -> Float32[Array, "N D"]:
    return network.bind(params).lip_windows(windows[..., ::-1].astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=0)
def _hear(network: Network, params: Params, cepstra: Float32[Array, "N 13 20"]) -> Float32[Array, "N D"]:
    return network.bind(params).sound(cepstra)
