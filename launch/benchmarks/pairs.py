"""Two programs for the same computation, and how long each takes."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from actavatar_jax import functional
from actavatar_jax.weights import DEVICE, Component, kind_of, load, save


@dataclasses.dataclass(frozen=True)
class Pair:
    """Ours and PyTorch's. A call computes once and gives the result in our layout, when all of it is there."""

    part: str
    size: str
    ours: Callable[[], np.ndarray]
    theirs: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Row:
    """What was measured of a pair: the seconds of every turn, and how far the results are apart."""

    part: str
    size: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    difference: float  # largest of a number, in parts of PyTorch's largest number

    @property
    def ratio(self) -> float:
        """Ours in parts of PyTorch's: the median over turns, so that what slows down both counts little."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))


def measure(pair: Pair, turns: int) -> Row:
    """Each once, uncounted: programs are compiled and memory is taken then. After that both in turn."""
    ours, theirs = pair.ours(), pair.theirs()
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    times = [(seconds(pair.ours), seconds(pair.theirs)) for _ in range(turns)]
    return Row(pair.part, pair.size, *zip(*times, strict=True), float(difference))


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def open_both(
    component: str, config: Any, read: Callable[[Path], torch.nn.Module], dtype: str = "float32"
) -> tuple[Component, torch.nn.Module]:
    """A network with random weights, here and in PyTorch, both from the same files; `read` takes the model folder."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder, component, config, draw_params(kind_of(component, config).module, config))
        return load(folder, component, dtype, residence=DEVICE), read(Path(folder))


def draw_params(module: type, config: Any) -> functional.Params:
    """Initial parameters; those that start at zero are random too, as a head of zeros would hide all before it."""
    rng = np.random.default_rng(0)

    def fill(leaf: np.ndarray) -> np.ndarray:
        return leaf if leaf.any() else 0.02 * rng.standard_normal(leaf.shape, np.float32)

    return jax.tree.map(fill, jax.device_get(_draw(module, config, jax.random.key(0))))


_draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
