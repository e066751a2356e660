"""Trains a small `WanVAE` from random weights: L1 plus a light KL, images first, then longer and longer clips.

This wants an accelerator. On a CPU it runs, and its loss falls, but it does not reach useful quality in reasonable
time (after minutes a linear code such as `PatchCodec` is still clearly better): use `PatchCodec` there.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8
from optax.contrib import MuonDimensionNumbers, muon
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.functional import Network, Params, random_key
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.storage import check_on_disk
from actavatar_jax.training.runtime.metrics import JsonLines
from actavatar_jax.training.schedules import warmup_stable_decay
from actavatar_jax.training.settings import VAEPhase, VAESettings
from actavatar_jax.training.vae_start import initialise
from actavatar_jax.weights import folder

Clips = Iterator[UInt8[np.ndarray, "F h w 3"]]


def train_vae(settings: VAESettings, network: Network, clips: Clips, workdir: Path) -> tuple[VAEConfig, Params]:
    """Trains for `settings.steps` steps and saves the result as `workdir/model/vae`.

    Args:
      settings: see there.
      network: a `WanVAE` whose latents' mean is 0 and deviation 1.
      clips: endless; each as long as the longest phase asks for or longer, sides multiples of 16.
      workdir: gets `metrics.jsonl` and `model/`.

    Returns:
      The model's config, with the statistics of its own latents, and its parameters.

    Raises:
      InputError: clips of a wrong size.
      FloatingPointError: the loss is not finite.
    """
    check_on_disk(workdir)
    key, total = random_key(settings.seed), settings.steps
    params = initialise(network.config, settings.seed)
    optimizer = make_optimizer(settings.learning_rate, total)
    opt_state = optimizer.init(params)
    step = make_step(network, optimizer, settings.kl_weight)
    workdir.mkdir(parents=True, exist_ok=True)
    write = JsonLines(workdir / "metrics.jsonl", resumed_at=0)

    with tqdm(total=total, unit="step", desc="VAE") as bar:
        for number, phase in enumerate(phase_of_steps(settings.phases, total), start=1):
            pixels = take(clips, phase)
            params, opt_state, metrics = step(params, opt_state, pixels, jnp.asarray(number), key)
            bar.update()
            if number % settings.log_every == 0 or number == total:
                record = {name: float(value) for name, value in metrics.items()}
                if not math.isfinite(record["loss"]):
                    raise FloatingPointError(f"loss is {record['loss']} at step {number}: lower learning_rate")
                write({"step": number, "frames": phase.frames, **record})
                bar.set_postfix(psnr=f"{record['psnr']:.1f} dB")

    batches = [take(clips, settings.phases[-1]) for _ in range(settings.statistics_batches)]
    config = with_statistics(network.config, params, batches)
    folder.save(workdir / "model", "vae", config, params)
    return config, params


def phase_of_steps(phases: Sequence[VAEPhase], steps: int) -> Iterator[VAEPhase]:
    """The phase of each step."""
    ends = np.cumsum([phase.share for phase in phases])
    ends = np.round(ends / ends[-1] * steps)
    for step in range(steps):
        yield phases[int(np.searchsorted(ends, step, side="right"))]


def take(clips: Clips, phase: VAEPhase) -> UInt8[np.ndarray, "B F h w 3"]:
    """As many of the next clips as a step of the phase takes, and of each as many of its first frames."""
    return np.stack([next(clips)[: phase.frames] for _ in range(phase.clips)])


def make_step(network: Network, optimizer: optax.GradientTransformation, kl_weight: float) -> Callable:
    """`step(params, opt_state, pixels, number, key) -> (params, opt_state, metrics)`, jitted."""

    def loss_of(params: Params, pixels: Float[Array, "B F h w 3"], key: Key[Array, ""]):
        vae = network.bind(params)
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
    schedule = warmup_stable_decay(learning_rate, steps, decay=steps - int(0.4 * steps))

    def matrices(params: Params) -> Params:
        return jax.tree.map(
            lambda x: MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1) if x.ndim > 1 else None, params
        )

    # With this scaling an update is as large as Adam's, so that one rate serves both.
    return muon(schedule, muon_weight_dimension_numbers=matrices, consistent_rms=0.2)


def with_statistics(config: VAEConfig, params: Params, batches: list[UInt8[np.ndarray, "B F h w 3"]]) -> VAEConfig:
    """`config` with mean and deviation of each latent channel over `batches`."""

    @jax.jit
    def means(pixels: UInt8[Array, "B F h w 3"]):
        return functional.bind(WanVAE, config, params).encode_moments(pixels.astype(jnp.float32) / 127.5 - 1)[0]

    latents = np.concatenate([np.asarray(means(pixels)).reshape(-1, config.z_dim) for pixels in batches])
    mean, deviation = latents.mean(axis=0), latents.std(axis=0) + 1e-6
    return dataclasses.replace(config, latents_mean=tuple(mean.tolist()), latents_std=tuple(deviation.tolist()))
