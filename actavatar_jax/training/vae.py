"""Trains a small `WanVAE` from random weights: L1 plus a light KL, images first, then longer and longer clips.

This wants an accelerator. On a CPU it runs, and its loss falls, but it does not reach useful quality in reasonable
time (after minutes a linear code such as `PatchCodec` is still clearly better): use `PatchCodec` there.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8
from ml_collections import ConfigDict
from optax.contrib import MuonDimensionNumbers, muon
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.training.runtime.metrics import JsonLines
from actavatar_jax.weights import folder

Clips = Iterator[UInt8[np.ndarray, "F h w 3"]]


def train_vae(config: ConfigDict, clips: Clips, workdir: Path) -> tuple[VAEConfig, Params]:
    """Trains for `config.steps` steps and saves the result as `workdir/model/vae`.

    Args:
      config: see `configs/vae.py`.
      clips: endless; each as long as the longest phase asks for or longer, sides multiples of 16.
      workdir: gets `metrics.jsonl` and `model/`.

    Returns:
      The model's config, with the statistics of its own latents, and its parameters.

    Raises:
      InputError: clips of a wrong size.
      FloatingPointError: the loss is not finite.
    """
    zeros, ones = (0.0,) * config.model.z_dim, (1.0,) * config.model.z_dim
    vae_config = VAEConfig(**config.model, latents_mean=zeros, latents_std=ones)
    key = jax.random.key(config.seed, impl="threefry2x32")
    params = initialise(vae_config, config.seed)
    optimizer = make_optimizer(config.learning_rate, config.steps)
    opt_state = optimizer.init(params)
    step = make_step(vae_config, optimizer, config.kl_weight)
    workdir.mkdir(parents=True, exist_ok=True)
    write = JsonLines(workdir / "metrics.jsonl", resumed_at=0)

    with tqdm(total=config.steps, unit="step", desc="VAE") as bar:
        for number, (frames, count) in enumerate(phase_of_steps(config.phases, config.steps), start=1):
            pixels = take(clips, frames, count)
            params, opt_state, metrics = step(params, opt_state, pixels, jnp.asarray(number), key)
            bar.update()
            if number % config.log_every == 0 or number == config.steps:
                record = {name: float(value) for name, value in metrics.items()}
                if not math.isfinite(record["loss"]):
                    raise FloatingPointError(f"loss is {record['loss']} at step {number}: lower learning_rate")
                write({"step": number, "frames": frames, **record})
                bar.set_postfix(psnr=f"{record['psnr']:.1f} dB")

    frames, count = config.phases[-1][1:]
    batches = [take(clips, frames, count) for _ in range(config.statistics_batches)]
    vae_config = with_statistics(vae_config, params, batches)
    folder.save(workdir / "model", "vae", vae_config, params)
    return vae_config, params


def phase_of_steps(phases: Any, steps: int) -> Iterator[tuple[int, int]]:
    """(frames per clip, clips per step) of each step; `phases` are triples that begin with a share of the steps."""
    ends = np.round(np.cumsum([share for share, _, _ in phases]) / sum(share for share, _, _ in phases) * steps)
    for step in range(steps):
        _, frames, count = phases[int(np.searchsorted(ends, step, side="right"))]
        yield frames, count


def take(clips: Clips, frames: int, count: int) -> UInt8[np.ndarray, "B F h w 3"]:
    """The first `frames` frames of each of the next `count` clips."""
    return np.stack([next(clips)[:frames] for _ in range(count)])


def make_step(config: VAEConfig, optimizer: optax.GradientTransformation, kl_weight: float) -> Callable:
    """`step(params, opt_state, pixels, number, key) -> (params, opt_state, metrics)`, jitted."""

    def loss_of(params: Params, pixels: Float[Array, "B F h w 3"], key: Key[Array, ""]):
        vae = functional.bind(WanVAE, config, params)
        mean, log_variance = vae.encode_moments(pixels)
        log_variance = jnp.clip(log_variance, -30, 20)
        sample = mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape, mean.dtype)
        error = vae.decode_sample(sample) - pixels
        l1 = jnp.abs(error).mean()
        kl = 0.5 * (mean**2 + jnp.exp(log_variance) - 1 - log_variance).mean()
        psnr = -10 * jnp.log10(jnp.square(error / 2).mean())
        return l1 + kl_weight * kl, {"l1": l1, "kl": kl, "psnr": psnr}

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(
        params: Params,
        opt_state: optax.OptState,
        pixels: UInt8[Array, "B F h w 3"],
        number: Int[Array, ""],
        key: Key[Array, ""],
    ):
        pixels = pixels.astype(jnp.float32) / 127.5 - 1
        key = jax.random.fold_in(key, number)
        (loss, metrics), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, pixels, key)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, {"loss": loss, **metrics}

    return step


def make_optimizer(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Muon for kernels, seen as matrices from all inputs to output channels; Adam for biases and gains.

    The rate is flat for 40 % of the steps, then falls to zero in a straight line.
    """
    flat = int(0.4 * steps)
    falling = optax.linear_schedule(learning_rate, 0.0, steps - flat)
    schedule = optax.join_schedules([optax.constant_schedule(learning_rate), falling], [flat])

    def matrices(params: Params) -> Params:
        return jax.tree.map(
            lambda x: MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1) if x.ndim > 1 else None, params
        )

    # With this scaling an update is as large as Adam's, so that one rate serves both.
    return muon(schedule, muon_weight_dimension_numbers=matrices, consistent_rms=0.2)


def initialise(config: VAEConfig, seed: int) -> Params:
    """Random weights that start as an image model: residual branches at zero, frames independent of each other."""
    rng = np.random.default_rng(seed)  # drawn on the host: compiling a draw for every shape would take minutes
    shapes = functional.flatten(functional.abstract(WanVAE, config))
    flat = {name: _start(name, leaf.shape, rng) for name, leaf in shapes.items()}
    flat["quant/kernel"][:, config.z_dim :] = 0
    flat["quant/bias"][config.z_dim :] = -4  # log-variance: little noise at first
    return jax.device_put(functional.unflatten(flat))


def _start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    value = np.full(shape, float(name.endswith("/scale")), np.float32)
    if len(shape) == 1 or re.fullmatch(r".*/(conv2|proj)/kernel", name):
        return value  # gains one; biases and the ends of residual branches zero
    if re.fullmatch(r".*/down/temporal/kernel", name):
        value[1:, 0, 0] = np.eye(shape[-1]) / 2  # mean of the last two frames
    elif re.fullmatch(r".*/up/temporal/kernel", name):
        value[-1, 0, 0] = np.tile(np.eye(shape[-2]), (1, 2))  # each frame twice
    else:
        newest = value[-1] if len(shape) == 5 else value  # of a 3-D kernel the newest tap alone
        newest[...] = rng.normal(scale=math.prod(newest.shape[:-1]) ** -0.5, size=newest.shape)
    return value


def with_statistics(config: VAEConfig, params: Params, batches: list[UInt8[np.ndarray, "B F h w 3"]]) -> VAEConfig:
    """`config` with mean and deviation of each latent channel over `batches`."""

    @jax.jit
    def means(pixels: UInt8[Array, "B F h w 3"]):
        return functional.bind(WanVAE, config, params).encode_moments(pixels.astype(jnp.float32) / 127.5 - 1)[0]

    latents = np.concatenate([np.asarray(means(pixels)).reshape(-1, config.z_dim) for pixels in batches])
    mean, deviation = latents.mean(axis=0), latents.std(axis=0) + 1e-6
    return dataclasses.replace(config, latents_mean=tuple(mean.tolist()), latents_std=tuple(deviation.tolist()))
