"""AdamW that skips bad steps, with a warm-up, a learning rate per parameter group, and durations in several units."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.parallel.ordered import first_match

DECAYED = ((r".*/kernel", True), (r".*", False))  # whether weight decay acts, by '/' name
MOMENTS = ("float32", "bfloat16")
SETTLED = 20  # good steps before a gradient can be called exploded: the first ones differ widely
MEMORY = 100  # good steps over which the norm's running mean forgets


def make_optimizer(
    config: Any, steps: int, speeds: Mapping[str, float | None], explode: float = 0.0
) -> optax.GradientTransformation:
    """Clip by the global norm, AdamW, then each parameter's multiplier; nothing at all on a bad step.

    Weight decay acts on kernels only: shrinking biases, gains, modulation and the phase embeddings would only pull
    them from where the backbone has them. The multiplier scales decay as well, as a parameter group of its own would.

    Args:
      config: `learning_rate`, `schedule`, `warmup`, `decay`, `b1`, `b2`, `weight_decay`, `clip`, `moments`.
      steps: length of the run; at the end of which the learning rate is 0, unless it is constant throughout.
      speeds: multiplier of every parameter by '/' name, None where it is frozen (`stages.multipliers`).
      explode: see `skip_bad_steps`.
    """
    if config.moments not in MOMENTS:
        raise InputError(f'optim.moments is "{config.moments}"; it must be {" or ".join(MOMENTS)}.')
    trained = {name: speed for name, speed in speeds.items() if speed is not None}
    decayed = functional.unflatten({name: DECAYED[first_match(name, DECAYED)][1] for name in trained})
    speed_tree = functional.unflatten(trained)
    rate = make_schedule(config, steps)
    adamw = optax.adamw(
        rate, config.b1, config.b2, weight_decay=config.weight_decay, mask=decayed, mu_dtype=config.moments
    )
    multiply = optax.stateless(lambda updates, _: _multiply(updates, speed_tree))
    return skip_bad_steps(optax.chain(optax.clip_by_global_norm(config.clip), adamw, multiply), explode)


class SkipState(NamedTuple):
    """What `skip_bad_steps` remembers beside the inner state."""

    in_a_row: Int[Array, ""]  # bad steps since the last good one
    skipped: Int[Array, ""]  # bad steps of the whole run
    good: Int[Array, ""]  # the other steps of the whole run
    norm: Float[Array, ""]  # running mean of the good gradients' global norm
    inner: Any


def skip_bad_steps(inner: optax.GradientTransformation, explode: float = 0.0) -> optax.GradientTransformation:
    """`inner`, but a bad gradient updates nothing: neither parameters nor moments nor the count of the schedule.

    Bad is a global norm that is not finite or, where `explode` is above 0, exceeds `explode` times its running mean.
    `optax.apply_if_finite` branches instead of selecting, so that both outcomes of the moments would need memory, and
    gives in after a number of bad steps; here the run is ended by whoever reads `skipped_steps`.
    """

    def init(params: functional.Params) -> SkipState:
        counts = (jnp.zeros((), jnp.int32) for _ in range(3))
        return SkipState(*counts, jnp.zeros(()), inner.init(params))

    def update(
        gradients: functional.Params, state: SkipState, params: functional.Params | None = None
    ) -> tuple[functional.Params, SkipState]:
        norm = optax.tree.norm(gradients)
        good = jnp.isfinite(norm)
        if explode > 0:
            good &= (state.good < SETTLED) | (norm <= explode * state.norm)
        updates, moved = inner.update(gradients, state.inner, params)
        weight = 1.0 / jnp.minimum(state.good + 1, MEMORY)
        # Minus zero changes nothing that it is added to. Plus zeros XLA would take from where gradients start to be
        # summed, and keep a copy of them, as large as the gradients, through the backward pass.
        return _select(good, updates, jax.tree.map(lambda x: jnp.full_like(x, -0.0), updates)), SkipState(
            in_a_row=jnp.where(good, 0, state.in_a_row + 1),
            skipped=state.skipped + ~good,
            good=state.good + good,
            norm=jnp.where(good, state.norm + weight * (norm - state.norm), state.norm),
            inner=_select(good, moved, state.inner),
        )

    return optax.GradientTransformation(init, update)


def skipped_steps(state: SkipState) -> Int[Array, "2"]:
    """Bad steps (in a row up to now, of the whole run), from the optimizer's state after a step."""
    return jnp.stack([state.in_a_row, state.skipped])


def make_schedule(config: Any, steps: int) -> Callable:
    """Learning rate as a function of the steps done: linear warm-up, then `constant`, or `cosine` down to 0.

    A constant rate falls to 0 over the last `config.decay` steps, in a straight line.
    """
    if config.schedule not in ("constant", "cosine"):
        raise InputError(f'optim.schedule is "{config.schedule}"; it must be constant or cosine.')

    def rate(step):
        ramp = jnp.minimum(1.0, (step + 1) / max(config.warmup, 1))  # the first step moves already
        if config.schedule == "constant":
            left = jnp.clip((steps - step) / config.decay, 0.0, 1.0) if config.decay else 1.0
            return config.learning_rate * ramp * left
        progress = jnp.clip((step - config.warmup) / max(steps - config.warmup, 1), 0.0, 1.0)
        return config.learning_rate * ramp * 0.5 * (1 + jnp.cos(jnp.pi * progress))

    return rate


def to_steps(duration: str | int, batch_size: int, examples: int | None) -> int:
    """Steps in a duration such as `500`, `"500 steps"`, `"20_000 examples"` or `"1.5 epochs"`.

    `examples` is the length of an epoch, None where the data have no end. Raises InputError for anything else.
    """
    number, _, unit = str(duration).strip().partition(" ")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    unit = unit.strip().removesuffix("s")
    if not 0 <= value < math.inf or unit not in ("", "step", "example", "epoch"):
        raise InputError(f'"{duration}" is not a duration; write a number of steps, examples or epochs: "500 steps".')
    if unit == "example":
        value /= batch_size
    elif unit == "epoch":
        if examples is None:
            raise InputError(f'"{duration}" cannot be counted: these data have no epochs; write steps or examples.')
        value *= examples / batch_size
    return math.ceil(value)


def _select(good: Bool[Array, ""], ours: Any, otherwise: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), ours, otherwise)


def _multiply(updates: functional.Params, factors: functional.Params) -> functional.Params:
    flat = functional.flatten(factors)
    return functional.unflatten({name: flat[name] * leaf for name, leaf in functional.flatten(updates).items()})
