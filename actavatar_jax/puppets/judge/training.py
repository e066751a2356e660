"""Trains the judge of puppet clips on drawn clips that are spoilt the way generators spoil theirs.

A pool of clips is renewed a little at every step, so that drawing keeps pace with training: each clip is seen several
times, in other windows and spoilt otherwise. The same examples and settings give the same judge.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8
from tqdm import tqdm

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.media.clock import floor_frames
from actavatar_jax.models import PatchCodecConfig, fit_patch_codec
from actavatar_jax.puppets.judge.network import JudgeConfig, PuppetJudge
from actavatar_jax.puppets.judge.spoiling import frame_numbers, spoil
from actavatar_jax.training.schedules import warmup_stable_decay

TEMPERATURE = 0.1  # of the comparison of appearances
WEIGHTS = {"actions": 1.0, "mouth": 16.0, "hands": 16.0, "look": 0.2}  # the squares are of numbers from 0 to 1


class Example(NamedTuple):
    """A clip and what is true of each of its frames; also a batch of them, with a leading axis B."""

    frames: UInt8[np.ndarray, "*B F 64 64 3"]
    actions: Float[np.ndarray, "*B F K"]  # shares that sum to 1: of no action, then of each
    mouth: Float[np.ndarray, "*B F 2"]  # opening and width
    hands: Float[np.ndarray, "*B F 2 2"]  # left and right; x, y as fractions of the side


@dataclasses.dataclass(frozen=True)
class Settings:
    steps: int = 1600
    batch: int = 12  # clips in a step
    frames: int = 33  # of each, 4k+1
    pool: int = 240  # clips to draw from
    fresh: int = 2  # of them renewed at every step
    learning_rate: float = 2e-3
    code_channels: int = 96  # components of the linear code that spoils clips
    seed: int = 0


def train_judge(
    actions: tuple[str, ...],
    examples: Iterator[Example],
    settings: Settings = Settings(),
    record: Callable[[dict[str, float]], Any] = lambda metrics: None,
    record_every: int = 50,
) -> tuple[JudgeConfig, Params]:
    """Trains a new judge.

    Args:
      actions: their names, in the order of the examples' columns after the first.
      examples: clips of equal length, at least as many as `settings.pool + settings.steps * settings.fresh`.
      settings: see `Settings`.
      record: told step, losses and shares of right answers, averaged over `record_every` steps.
      record_every: steps.

    Raises:
      FloatingPointError: the loss is not finite.
    """
    config = JudgeConfig(actions)
    pool = Pool(itertools.islice(examples, settings.pool))
    code = fit_codec(pool, settings.code_channels)
    key = functional.random_key(settings.seed)
    params = jax.jit(functional.init, static_argnums=(0, 1))(PuppetJudge, config, key)
    opt_state = make_optimizer(settings).init(params)
    rng = np.random.default_rng(settings.seed)
    seen = []

    with tqdm(total=settings.steps, unit="step", desc="judge") as bar:
        for number in range(1, settings.steps + 1):
            batch = pool.sample(rng, settings.batch, settings.frames)
            step_key = jax.random.fold_in(key, number)
            params, opt_state, metrics = train_step(config, settings, params, opt_state, code, batch, step_key)
            pool.renew(itertools.islice(examples, settings.fresh))  # while the device is at work
            seen.append(metrics)
            bar.update()
            if number % record_every == 0 or number == settings.steps:
                means = jax.tree.map(lambda *values: float(np.mean(values)), *seen)
                if not np.isfinite(means["loss"]):
                    raise FloatingPointError(f"the loss is {means['loss']} at step {number}: lower the learning rate")
                record({"step": number, **means})
                bar.set_postfix(loss=f"{means['loss']:.2f}", right=f"{means['actions_right']:.2f}")
                seen = []
    return config, jax.device_get(params)


class Pool:
    """Clips in memory, the oldest replaced first."""

    def __init__(self, examples: Iterator[Example]):
        self.clips = list(examples)
        self.oldest = 0

    def renew(self, examples: Iterator[Example]) -> None:
        for example in examples:
            self.clips[self.oldest] = example
            self.oldest = (self.oldest + 1) % len(self.clips)

    def sample(self, rng: np.random.Generator, count: int, frames: int) -> Example:
        """A batch of windows of different clips, some of them halting."""
        chosen = [self.clips[i] for i in rng.choice(len(self.clips), count, replace=False)]
        numbers = [frame_numbers(rng, clip.actions[:, 0], frames) for clip in chosen]
        cut = [[part[n] for part in clip] for clip, n in zip(chosen, numbers, strict=True)]
        return Example(*(np.stack(parts) for parts in zip(*cut, strict=True)))


def fit_codec(pool: Pool, channels: int, clips: int = 16) -> Params:
    """The linear code of the pool's clips."""
    frames = [clip.frames[: floor_frames(len(clip.frames))] for clip in pool.clips[:clips]]
    return fit_patch_codec([f.astype(np.float32) / 127.5 - 1 for f in frames], PatchCodecConfig(channels))


def make_optimizer(settings: Settings) -> optax.GradientTransformation:
    """Adam, warmed up, then along a cosine to zero."""
    steps, warmup = settings.steps, settings.steps // 16
    schedule = warmup_stable_decay(settings.learning_rate, steps, warmup=warmup, decay=steps - warmup, shape="cosine")
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3))


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def train_step(
    config: JudgeConfig,
    settings: Settings,
    params: Params,
    opt_state: optax.OptState,
    code: Params,
    batch: Any,
    key: Key[Array, ""],
) -> tuple[Params, optax.OptState, dict[str, Float[Array, ""]]]:
    """One step on the clips of `batch`, an `Example`, spoilt with the linear code `code` and otherwise."""
    pixels = spoil(key, batch.frames, PatchCodecConfig(settings.code_channels), code)
    gradient, metrics = jax.grad(judge_loss, argnums=1, has_aux=True)(config, params, pixels, batch)
    updates, opt_state = make_optimizer(settings).update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, metrics


def judge_loss(
    config: JudgeConfig, params: Params, pixels: Float[Array, "B F 64 64 3"], batch: Any
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """The loss and its parts. `batch` is an `Example` of arrays whose frames are not looked at."""
    read = functional.bind(PuppetJudge, config, params)(pixels)
    look, look_right = _compare_looks(read.embeddings)
    parts = {
        "actions": optax.softmax_cross_entropy(read.actions, batch.actions).mean(),
        "mouth": jnp.square(read.mouth - batch.mouth).mean(),
        "hands": jnp.square(read.hands - batch.hands).mean(),
        "look": look,
    }
    loss = sum(WEIGHTS[name] * part for name, part in parts.items())
    right = (read.actions.argmax(axis=-1) == batch.actions.argmax(axis=-1)).mean()
    return loss, {"loss": loss, **parts, "actions_right": right, "look_right": look_right}


def _compare_looks(embeddings: Float[Array, "B F E"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Every later frame is told by its clip's frame 0 from those of the other clips: as drift does."""
    B = embeddings.shape[0]
    logits = jnp.einsum("bfe,ce->bfc", embeddings[:, 1:], embeddings[:, 0]) / TEMPERATURE
    own: Int[Array, "B F"] = jnp.broadcast_to(jnp.arange(B)[:, None], logits.shape[:2])
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, own).mean()
    return loss, (logits.argmax(axis=-1) == own).mean()
