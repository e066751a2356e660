"""SyncNet v2 with random weights, in a file as its authors', and how large it is."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from actavatar_jax import functional
from actavatar_jax.models.syncnet import CEPSTRA, SIDE, VECTORS, WINDOW, SyncNet, SyncNetConfig
from tests.data.tiny_models import write_syncnet

CONFIG = SyncNetConfig()


def syncnet(path: Path) -> tuple[int, int]:
    """Writes the file; parameters and multiply-adds of one window, seen and heard."""
    params = _draw(functional.abstract(SyncNet, CONFIG))
    write_syncnet(path, CONFIG, params)
    return functional.count(params), _products(params)


def _draw(abstract: functional.Params) -> functional.Params:
    """Kernels at He's scale, which keeps activations of one size; norms and biases change nothing."""
    rng = np.random.default_rng(0)

    def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("kernel"):
            return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(2 / math.prod(shape[:-1])))
        return np.full(shape, name.endswith(("scale", "var")), np.float32)

    return functional.unflatten({name: values(name, x.shape) for name, x in functional.flatten(abstract).items()})


def _products(params: functional.Params) -> int:
    def both(params, frames, cepstra):
        network = functional.bind(SyncNet, CONFIG, params)
        return network.lips(frames), network.sound(cepstra)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((WINDOW, SIDE, SIDE, 3), (1, CEPSTRA, VECTORS))]
    return round(jax.jit(both).lower(params, *shapes).cost_analysis()["flops"] / 2)
