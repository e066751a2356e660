"""Trains a `MotionCodec`, or its decoder alone on what a finished model makes, to draw clips as they were drawn.

What is seen at a step follows from the step and the seed alone: a run that is ended and started again gives the same
weights, bit for bit.
"""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.models.motion import MotionCodec, MotionCodecConfig
from actavatar_jax.puppets.codec.batches import Batches, Examples
from actavatar_jax.puppets.codec.settings import MOST_NOISE, Settings
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import UNFINISHED, StopRequest
from actavatar_jax.training.runtime.metrics import JsonLines, Record
from actavatar_jax.training.schedules import warmup_stable_decay
from actavatar_jax.training.state import TrainState

MOVED = 0.1  # change of a colour since frame 0, of 2 from black to white, that counts as motion

log = logging.getLogger(__name__)

Visit = Callable[[Params, int, Record], Any]


def train_codec(
    config: MotionCodecConfig,
    params: Params,
    parts: tuple[str, ...],
    examples: Examples,
    settings: Settings,
    workdir: Path,
    visit: Visit | None = None,
) -> Params:
    """Trains `parts` of a codec, or goes on from the last checkpoint in `workdir`.

    Asked to end by SIGTERM, it saves and exits with code 75: start it again.

    Args:
      params: of the whole codec; what is not trained stays as it is.
      parts: encoder and decoder, or the decoder alone: then examples have latents.
      examples: endless, all of one shape. They come in order and are waited for while the device is at work, so an
        iterator that draws ahead in other processes costs no time.
      settings: see `Settings`.
      workdir: gets `checkpoints/`, `logs/`, `metrics.jsonl` and `run.lock`. A record holds means over the steps since
        the one before and the seconds that they took, on the clock and of this process's processors.
      visit: is given the parameters of the whole codec, for the time of the call, with every record.

    Returns the parameters of the whole codec.

    Raises:
      InputError: settings or examples that do not fit, checkpoints of another run, a work folder in use.
      FloatingPointError: the loss is not finite.
    """
    described = {"codec": dataclasses.asdict(config), "training": dataclasses.asdict(settings), "parts": parts}
    may_change = {"training.checkpoint_every", "training.log_every"}
    optimizer, batches = make_optimizer(settings), Batches(examples, settings)
    frozen = {name: part for name, part in params.items() if name not in parts}
    with (
        work.open_workdir(workdir, described),
        Checkpoints(workdir / "checkpoints", described, may_change) as checkpoints,
    ):
        fresh = TrainState.create(jax.tree.map(jnp.asarray, {name: params[name] for name in parts}), {}, optimizer)
        state = checkpoints.restore(fresh, batches) or fresh
        start, total = int(state.step), settings.steps
        recorder = Recorder(workdir / "metrics.jsonl", start)
        with StopRequest() as stop:
            for step in tqdm(range(start + 1, total + 1), parts[0], unit="step", initial=start, total=total):
                state, metrics = train_step(config, settings, frozen, state, next(batches))
                recorder.add(metrics)
                stopping = stop.after(step)
                if step % settings.log_every == 0 or step == total:
                    record = recorder.write(step)
                    if visit:
                        visit({**frozen, **state.params}, step, record)
                if stopping or step % settings.checkpoint_every == 0 or step == total:
                    checkpoints.save(state, batches)
                if stopping:
                    _leave(step, checkpoints.wait())
    return jax.device_get({**frozen, **state.params})


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam at a rate that rises, holds, and falls to zero along a cosine."""
    decay = settings.steps - round(settings.flat * settings.steps)
    rate = warmup_stable_decay(
        settings.learning_rate, settings.steps, warmup=settings.warmup, decay=decay, shape="cosine"
    )
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, 0.9, 0.99))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def train_step(
    config: MotionCodecConfig, settings: Settings, frozen: Params, state: TrainState, batch: Any
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One step on `batch`, a `Batch`."""
    key = jax.random.fold_in(functional.random_key(settings.seed), state.step)
    gradient, metrics = jax.grad(drawing_loss, has_aux=True)(state.params, config, settings, frozen, batch, key)
    updates, opt_state = make_optimizer(settings).update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state), metrics


def drawing_loss(
    params: Params, config: MotionCodecConfig, settings: Settings, frozen: Params, batch: Any, key: Key[Array, ""]
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The weighted loss; with it the plain mean differences of what is drawn, and of the first frame."""
    first, frames = (pixels.astype(jnp.float32) / 127.5 - 1 for pixels in (batch.first, batch.frames))
    codec = functional.bind(MotionCodec, config, {**frozen, **params})
    latents = with_noise(key, codec.encoder(frames, first)) if batch.latents is None else batch.latents
    error = jnp.abs(codec.decoder.draw(codec.decoder.see(first), latents) - frames)
    change = jnp.abs(frames - first[:, None])
    moved = change.max(axis=-1) > MOVED
    weight = 1 + settings.moved * moved + settings.mouth * batch.mouth + settings.hands * batch.hands
    loss = (error.mean(axis=-1) * weight).sum() / weight.sum()
    return loss, {"loss": loss, "l1": error.mean(), "still_l1": change.mean()}


def with_noise(key: Key[Array, ""], code: Float[Array, "N H W C"]) -> Float[Array, "N H W C"]:
    """Of another strength for every group, up to MOST_NOISE: codes that are nearly alike come to mean nearly the
    same."""
    strength, noise = jax.random.split(key)
    strength = jax.random.uniform(strength, (len(code), 1, 1, 1), maxval=MOST_NOISE)
    return code + strength * jax.random.normal(noise, code.shape)


class Recorder:
    """Means and times of the steps since the last record."""

    def __init__(self, path: Path, resumed_at: int):
        self.append = JsonLines(path, resumed_at)
        self._begin()

    def add(self, metrics: dict[str, Float[Array, ""]]) -> None:
        """Takes the metrics of a step that may still be computed."""
        self.window.append(metrics)

    def write(self, step: int) -> Record:
        """Waits for the steps; raises FloatingPointError where their loss is not finite."""
        means = {name: float(np.mean([m[name] for m in self.window])) for name in self.window[0]}
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(f"the loss is {means['loss']} at step {step}: lower the learning rate")
        seconds, cpu_seconds = time.monotonic() - self.clock, time.process_time() - self.cpu_clock
        record = {"step": step, **means, "seconds": seconds, "cpu_seconds": cpu_seconds}
        self.append(record)
        self._begin()
        return record

    def _begin(self) -> None:
        self.window: list[dict[str, Float[Array, ""]]] = []
        self.clock, self.cpu_clock = time.monotonic(), time.process_time()


def _leave(step: int, saved: bool) -> None:
    if not saved:
        log.error("Asked to end at step %d, but its state could not be saved.", step)
        raise SystemExit(UNFINISHED)
    log.warning("Asked to end: the state of step %d is saved, and training goes on there when started again.", step)
    raise SystemExit(UNFINISHED)
