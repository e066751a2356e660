"""Trains a `FrameDecoder` on what a finished model makes of drawn clips, against the clips as they were drawn.

Which clips are at hand at a step, and which of their groups of four frames are taken, follows from the step and the
seed alone: a run that is ended and started again gives the same decoder, bit for bit.
G groups of four frames in a clip, N groups in a step.
"""

import dataclasses
import functools
import logging
import math
import time
import typing
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float32, UInt8
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.checks import NOT_NEGATIVE, POSITIVE, SHARE, check_fields, whole
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models import FrameDecoder, FrameDecoderConfig
from actavatar_jax.training.runtime import workdir as work
from actavatar_jax.training.runtime.checkpoint import Checkpoints
from actavatar_jax.training.runtime.guard import UNFINISHED, StopRequest
from actavatar_jax.training.runtime.metrics import JsonLines, Record
from actavatar_jax.training.schedules import warmup_stable_decay
from actavatar_jax.training.state import TrainState

MOVED = 0.1  # change of a colour since frame 0, of 2 from black to white, that counts as motion
MOST_NOISE = 0.2  # on true latents, whose variance is about 1

log = logging.getLogger(__name__)


class Example(NamedTuple):
    """A clip in groups of four frames after its first, and their latents."""

    first: UInt8[np.ndarray, "h w 3"]
    frames: UInt8[np.ndarray, "G 4 h w 3"]
    made: Float32[np.ndarray, "G H W C"]  # as the model makes them
    true: Float32[np.ndarray, "G H W C"]
    mouth: Bool[np.ndarray, "G 4 h w"]  # pixels around the mouth
    hands: Bool[np.ndarray, "G 4 h w"]


class Batch(NamedTuple):
    """Groups of different clips."""

    first: UInt8[np.ndarray, "N h w 3"]
    frames: UInt8[np.ndarray, "N 4 h w 3"]
    latents: Float32[np.ndarray, "N H W C"]
    mouth: Bool[np.ndarray, "N 4 h w"]
    hands: Bool[np.ndarray, "N 4 h w"]


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class Settings:
    """The loss is the mean difference of colours, and of its square, with weights: 1 everywhere, and more where it
    matters to the eye. The difference alone draws crisp edges where it guesses that they are; the square, which PSNR
    measures, minds most the pixels that are far off."""

    steps: int
    batch: int = 16  # groups in a step
    pool: int = 96  # clips in memory
    learning_rate: float = 2e-3
    flat: float = 0.4  # share of the steps at this rate; then it falls to zero along a cosine
    moved: float = 4.0  # added to the weight of pixels that differ from frame 0,
    mouth: float = 6.0  # around the mouth
    hands: float = 3.0  # and around the hands
    squared: float = 0.0  # weight of squared differences beside the differences; colours are from -1 to 1
    clean_share: float = 0.25  # of the groups; their latents are the true ones with up to MOST_NOISE of noise
    seed: int = 0
    checkpoint_every: int = 200  # steps
    log_every: int = 50

    def __post_init__(self):
        counts = dict.fromkeys(("steps", "batch", "pool", "checkpoint_every", "log_every"), whole(1, 2**31 - 1))
        weights = dict.fromkeys(("moved", "mouth", "hands", "squared"), NOT_NEGATIVE)
        shares = dict.fromkeys(("flat", "clean_share"), SHARE)
        rest = {"learning_rate": POSITIVE, "seed": whole(0, 2**32 - 1)}
        check_fields(self, "setting decoder.training.", **counts, **weights, **shares, **rest)


Examples = Callable[[int], Iterator[Example]]  # the clips from a number on: of each number always the same
Linear = Callable[[Float[Array, "N H W C"], Float[Array, "N h w 3"]], Float[Array, "N 4 h w 3"]]
Visit = Callable[[Params, int, Record], Any]


def train_decoder(
    config: FrameDecoderConfig,
    examples: Examples,
    linear: Linear,
    settings: Settings,
    workdir: Path,
    visit: Visit | None = None,
    start: Params | None = None,
) -> Params:
    """Trains a decoder, new or from `start` on, or goes on from the last checkpoint in `workdir`.

    Asked to end by SIGTERM, it saves and exits with code 75: start it again.

    Args:
      config: of the decoder.
      examples: endless, all of one shape. They come in order and are waited for while the device is at work, so an
        iterator that draws ahead in other processes costs no time.
      linear: latents of groups and clean first frames -> the groups as the linear code decodes them; is compiled.
      settings: see `Settings`.
      workdir: gets `checkpoints/`, `logs/`, `metrics.jsonl` and `run.lock`. A record holds means over the steps since
        the one before and the seconds that they took, on the clock and of this process's processors.
      visit: is given the parameters, for the time of the call, with every record.
      start: a decoder of this form; a run that goes on has to be given the same.

    Raises:
      InputError: settings or examples that do not fit, checkpoints of another run, a work folder in use.
      FloatingPointError: the loss is not finite.
    """
    described = {
        "decoder": dataclasses.asdict(config),
        "training": dataclasses.asdict(settings),
        "start": start and functional.digest(start),
    }
    may_change = {"training.checkpoint_every", "training.log_every"}
    optimizer, batches = make_optimizer(settings), Batches(examples, settings)
    with (
        work.open_workdir(workdir, described),
        Checkpoints(workdir / "checkpoints", described, may_change) as checkpoints,
    ):
        params = initialise(config, settings.seed) if start is None else start
        fresh = TrainState.create(params, {}, optimizer)
        state = checkpoints.restore(fresh, batches) or fresh
        start, total = int(state.step), settings.steps
        recorder = Recorder(workdir / "metrics.jsonl", start)
        with StopRequest() as stop:
            for step in tqdm(range(start + 1, total + 1), "decoder", unit="step", initial=start, total=total):
                state, metrics = train_step(config, settings, linear, state, next(batches))
                recorder.add(metrics)
                stopping = stop.after(step)
                if step % settings.log_every == 0 or step == total:
                    record = recorder.write(step)
                    if visit:
                        visit(state.params, step, record)
                if stopping or step % settings.checkpoint_every == 0 or step == total:
                    checkpoints.save(state, batches)
                if stopping:
                    _leave(step, checkpoints.wait())
    return jax.device_get(state.params)


def initialise(config: FrameDecoderConfig, seed: int) -> Params:
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    return draw(FrameDecoder, config, functional.random_key(seed))


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam at a flat rate, then along a cosine to zero."""
    decay = settings.steps - round(settings.flat * settings.steps)
    rate = warmup_stable_decay(settings.learning_rate, settings.steps, decay=decay, shape="cosine")
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, 0.9, 0.99))


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def train_step(
    config: FrameDecoderConfig, settings: Settings, linear: Linear, state: TrainState, batch: Any
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """One step on `batch`, a `Batch`."""
    gradient, metrics = jax.grad(decoder_loss, argnums=3, has_aux=True)(config, settings, linear, state.params, batch)
    updates, opt_state = make_optimizer(settings).update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state), metrics


def decoder_loss(
    config: FrameDecoderConfig, settings: Settings, linear: Linear, params: Params, batch: Any
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The weighted loss; with it the plain mean differences of what the decoder draws and of the linear decode."""
    first, frames = (pixels.astype(jnp.float32) / 127.5 - 1 for pixels in (batch.first, batch.frames))
    decoded = linear(batch.latents, first)
    error = jnp.abs(functional.bind(FrameDecoder, config, params)(decoded, first) - frames)
    moved = jnp.abs(frames - first[:, None]).max(axis=-1) > MOVED
    weight = 1 + settings.moved * moved + settings.mouth * batch.mouth + settings.hands * batch.hands
    missed = (error + settings.squared * error**2).mean(axis=-1)
    loss = (missed * weight).sum() / weight.sum()
    return loss, {"loss": loss, "l1": error.mean(), "linear_l1": jnp.abs(decoded - frames).mean()}


class Batches(grain.DatasetIterator):
    """Batch number s, counted from 0, is of groups of a window of clips that moves on as fast as it is used up.

    Every clip is taken from about as often as it has groups.
    """

    def __init__(self, examples: Examples, settings: Settings):
        super().__init__()
        self.examples, self.settings = examples, settings
        self.set_state({"number": 0, "groups": 0})

    def get_state(self) -> dict[str, int]:
        return {"number": self.number, "groups": self.groups}

    def set_state(self, state: dict[str, int]) -> None:
        self.number, self.groups = state["number"], state["groups"]  # groups of every clip: 0 before one was seen
        self.window: deque[Example] = deque()
        self.oldest = self._oldest()
        self.upcoming: Iterator[Example] | None = None

    def __next__(self) -> Batch:
        self._move_window()
        rng = np.random.default_rng([self.settings.seed, self.number])
        chosen = rng.choice(self.settings.pool * self.groups, self.settings.batch, replace=False)
        drawn = [self._group(rng, *divmod(int(number), self.groups)) for number in chosen]
        self.number += 1
        return Batch(*(np.stack(parts) for parts in zip(*drawn, strict=True)))

    def _oldest(self) -> int:
        """Number of the first clip of the window."""
        return self.number and self.number * self.settings.batch // self.groups

    def _move_window(self) -> None:
        self.upcoming = self.upcoming or self.examples(self.oldest)
        while self.oldest < self._oldest():
            self.window.popleft()
            self.oldest += 1
        while len(self.window) < self.settings.pool:
            self.window.append(self._next_example())

    def _next_example(self) -> Example:
        example = next(self.upcoming, None)
        if example is None:
            raise InputError(
                f"The examples end before clip {self.oldest + len(self.window)}; the decoder's training needs clips "
                "without end."
            )
        self.groups = self.groups or len(example.frames)
        if self.settings.batch > self.settings.pool * self.groups:
            raise InputError(
                f"A batch of {self.settings.batch} groups is more than {self.settings.pool} clips of {self.groups} "
                "groups hold; set a smaller batch or a larger pool."
            )
        shapes, others = ([part.shape for part in one] for one in (example, self.window[0] if self.window else example))
        if shapes != others or len(example.frames) != self.groups:
            raise InputError(
                f"Clip {self.oldest + len(self.window)} has arrays of {shapes}, the one before of {others}; "
                "the decoder's training takes clips of one shape."
            )
        return example

    def _group(self, rng: np.random.Generator, clip: int, group: int) -> tuple[np.ndarray, ...]:
        """The parts of a `Batch`, of one group."""
        example = self.window[clip]
        latents = example.made[group]
        if rng.random() < self.settings.clean_share:
            noise = rng.standard_normal(latents.shape, np.float32)
            latents = example.true[group] + np.float32(rng.uniform(0, MOST_NOISE)) * noise
        return example.first, example.frames[group], latents, example.mouth[group], example.hands[group]


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
