"""The random weights that a `WanVAE` is trained from."""

import math

import jax
import numpy as np

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.parallel import ParameterGroups


def initialise(config: VAEConfig, seed: int) -> Params:
    """Random weights that start as an image model: residual branches at zero, frames independent of each other."""
    rng = np.random.default_rng(seed)  # drawn on the host: compiling a draw for every shape would take minutes
    shapes = functional.flatten(functional.abstract(WanVAE, config))
    flat = {name: start(shapes[name].shape, rng) for name, start in STARTS.values(shapes).items()}
    flat["quant/kernel"][:, config.z_dim :] = 0
    flat["quant/bias"][config.z_dim :] = -4  # log-variance: little noise at first
    return jax.device_put(functional.unflatten(flat))


def _zeros(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.zeros(shape, np.float32)


def _ones(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return np.ones(shape, np.float32)


def _mean_of_two(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of the last two frames."""
    kernel = _zeros(shape, rng)
    kernel[1:, 0, 0] = np.eye(shape[-1]) / 2
    return kernel


def _twice(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Each frame twice."""
    kernel = _zeros(shape, rng)
    kernel[-1, 0, 0] = np.tile(np.eye(shape[-2]), (1, 2))
    return kernel


def _drawn(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Of a 3-D kernel the newest tap alone."""
    kernel = _zeros(shape, rng)
    newest = kernel[-1] if len(shape) == 5 else kernel
    newest[...] = rng.normal(scale=math.prod(newest.shape[:-1]) ** -0.5, size=newest.shape)
    return kernel


STARTS = ParameterGroups(
    (
        (r".*/scale", _ones),
        (r".*/bias|.*/(conv2|proj)/kernel", _zeros),  # the latter end residual branches
        (r".*/down/temporal/kernel", _mean_of_two),
        (r".*/up/temporal/kernel", _twice),
        (r".*", _drawn),
    )
)
