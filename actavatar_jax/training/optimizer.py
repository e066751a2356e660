"""AdamW with a warm-up, a learning rate per parameter group, and durations given in steps, examples or epochs."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from actavatar_jax.errors import InputError
from actavatar_jax.models import functional


def make_optimizer(config: Any, steps: int, speeds: Mapping[str, float | None]) -> optax.GradientTransformation:
    """Clip by the global norm, AdamW, then each parameter's multiplier.

    Weight decay acts on kernels only: shrinking biases, gains, modulation and the phase embeddings would only pull
    them from where the backbone has them. The multiplier scales decay as well, as a parameter group of its own would.

    Args:
      config: `learning_rate`, `schedule`, `warmup`, `b1`, `b2`, `weight_decay`, `clip`.
      steps: length of the run; read by the cosine schedule.
      speeds: multiplier of every parameter by '/' name, None where it is frozen (`stages.multipliers`).
    """
    trained = {name: speed for name, speed in speeds.items() if speed is not None}
    decayed = functional.unflatten({name: name.endswith("/kernel") for name in trained})
    speed_tree = functional.unflatten(trained)
    rate = make_schedule(config, steps)
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(rate, b1=config.b1, b2=config.b2, weight_decay=config.weight_decay, mask=decayed),
        optax.stateless(lambda updates, _: _multiply(updates, speed_tree)),
    )


def make_schedule(config: Any, steps: int) -> Callable:
    """Learning rate as a function of the steps done: linear warm-up, then `constant`, or `cosine` down to 0."""
    if config.schedule not in ("constant", "cosine"):
        raise InputError(f'optim.schedule is "{config.schedule}"; it must be constant or cosine.')

    def rate(step):
        ramp = jnp.minimum(1.0, (step + 1) / max(config.warmup, 1))  # the first step moves already
        if config.schedule == "constant":
            return config.learning_rate * ramp
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


def _multiply(updates: functional.Params, factors: functional.Params) -> functional.Params:
    flat = functional.flatten(factors)
    return functional.unflatten({name: flat[name] * leaf for name, leaf in functional.flatten(updates).items()})
