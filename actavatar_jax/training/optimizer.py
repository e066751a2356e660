"""AdamW that skips bad steps, with a warm-up and a learning rate per parameter group."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from actavatar_jax import functional
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.training.schedules import warmup_stable_decay
from actavatar_jax.training.settings import OptimizerSettings

DECAYED = ParameterGroups(((r".*/kernel", True), (r".*", False)))  # whether weight decay acts
SETTLED = 20  # good steps before a gradient can be called exploded: the first ones differ widely
MEMORY = 100  # good steps over which the norm's running mean forgets


def make_optimizer(
    settings: OptimizerSettings, steps: int, speeds: Mapping[str, float | None], explode: float = 0.0
) -> optax.GradientTransformation:
    """Clip by the global norm, AdamW, then each parameter's multiplier; nothing at all on a bad step.

    Weight decay acts on kernels only: shrinking biases, gains, modulation and the phase embeddings would only pull
    them from where the backbone has them. The multiplier scales decay as well, as a parameter group of its own would.

    Args:
      settings: see there.
      steps: length of the run.
      speeds: multiplier of every parameter by '/' name, None where it is frozen (`groups.multipliers`).
      explode: see `skip_bad_steps`.
    """
    trained = {name: speed for name, speed in speeds.items() if speed is not None}
    adamw = optax.adamw(
        make_schedule(settings, steps),
        settings.b1,
        settings.b2,
        settings.eps,
        weight_decay=settings.weight_decay,
        mask=functional.unflatten(DECAYED.values(trained)),
        mu_dtype=settings.moments,
    )
    multiply = optax.stateless(lambda updates, _: _multiply(updates, functional.unflatten(trained)))
    return skip_bad_steps(optax.chain(optax.clip_by_global_norm(settings.clip), adamw, multiply), explode)


def make_schedule(settings: OptimizerSettings, steps: int) -> optax.Schedule:
    """The learning rate after so many steps of a run of `steps`: a cosine falls to 0 from the warm-up on."""
    cosine, warmup = settings.schedule == "cosine", settings.warmup
    return warmup_stable_decay(
        settings.learning_rate,
        steps,
        warmup=warmup,
        decay=max(steps - warmup, 1) if cosine else settings.decay,
        shape="cosine" if cosine else "linear",
    )


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


def forget_streak(state: SkipState) -> SkipState:
    """The state of a run that is started again: bad steps in a row are counted anew."""
    return state._replace(in_a_row=0 * state.in_a_row)


def _select(good: Bool[Array, ""], ours: Any, otherwise: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), ours, otherwise)


def _multiply(updates: functional.Params, factors: functional.Params) -> functional.Params:
    flat = functional.flatten(factors)
    return functional.unflatten({name: flat[name] * leaf for name, leaf in functional.flatten(updates).items()})
