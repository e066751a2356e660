"""One training step: noise a batch, predict its velocity, descend.

B batch, T latent frames, H W latent height and width, C latent channels, S text tokens, F video frames.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Key

from actavatar_jax.diffusion import flow
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.training.groups import merge
from actavatar_jax.training.objective import Batch, Draws, Objective
from actavatar_jax.training.optimizer import skipped_steps
from actavatar_jax.training.preference import REJECTED, PreferenceSettings, preference_losses
from actavatar_jax.training.state import TrainState

NOISE_BINS = 10  # of flow time, for the loss per noise level

Metrics = dict[str, Array]


def make_train_step(
    network: Network,
    tx: optax.GradientTransformation,
    objective: Objective,
    schedule: Callable,
    ema_decay: float = 0.0,
    *,
    micro_batches: int = 1,
    preference: PreferenceSettings | None = None,
    shardings: TrainState | None = None,
) -> Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Metrics]]:
    """The jitted `step(state, batch, key) -> (state, metrics)`; it reuses the memory of the state that it is given.

    Gradients are taken with respect to `state.params` only. Weights, moments and loss are float32; what is computed
    in bfloat16 is the choice of `network.execution`. Gradients of what is computed in bfloat16 are added up in it over
    devices, as matrix products leave them, and become float32 then.

    One gradient that is not finite makes the sum over the batch so, in whichever micro-batch it is. The optimizer skips
    such a step: parameters, moments and average stay as they are, the good samples beside the bad one included. The
    step is counted all the same and its batch is used up, so that no run meets a bad batch twice.

    Args:
      micro_batches: parts of a batch that are computed one after the other; they change memory, not results.
      preference: of steps of pairs, for which the state has a reference.
      shardings: of every leaf of the state on a mesh (`parallel.rules.state_shardings`). The step must then be called
        under `jax.set_mesh`, with batches from `parallel.batches.place_batch` and the key from `replicate`.

    Args of the step:
      batch: `latents` [B, T, H, W, C], `text` [B, S, text_dim], `phase_ids` [B, S], `phase_windows` [B, phases, 2],
        `audio` [B, F, layers, E] and `index` [B], the number of the draw in the stream, or what else the objective
        reads; in a batch of pairs `latents` are of the preferred videos, `rejected` of the others, and
        `regions` [B, T, H, W] says where hands and faces are, if those weigh more.
      key: the run's key, the same at every step: noise and time of a sample come from it and the sample's index.
    """

    def loss(params, frozen, reference, batch, key):
        model = network.bind(merge(params, frozen))
        if REJECTED in batch:
            before = network.bind(merge(reference, frozen))
            losses, times = pair_losses(model, before, batch, objective, preference, key)
        else:
            losses, times = sample_losses(model, batch, objective, key)
        return jnp.mean(losses), (losses, times)

    def gradients_of(params, frozen, reference, batch, key) -> tuple[Params, tuple[Array, Array]]:
        gradients, scores = jax.grad(loss, has_aux=True)(params, frozen, reference, batch, key)
        if shardings is not None:  # cut like the parameters: what devices add up, none of them holds whole
            gradients = jax.lax.with_sharding_constraint(gradients, shardings.params)
        return gradients, scores

    def step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        gradients, (losses, times) = in_parts(
            lambda part: gradients_of(state.params, state.frozen, state.reference, part, key), batch, micro_batches
        )
        state, metrics = descend(state, gradients, tx, schedule, ema_decay)
        metrics |= {"loss": jnp.mean(losses), "of_pairs": jnp.float32(REJECTED in batch)}
        return state, metrics | noise_level_sums(losses, times)

    return compiled(step, shardings)


def compiled(step: Callable, shardings: TrainState | None) -> Callable:
    """A step (state, batch, key) -> (state, metrics), jitted; `shardings` as of `make_train_step`."""
    if shardings is None:
        return jax.jit(step, donate_argnums=0)
    # Told where the state ends, XLA puts it where it came from and reuses its memory; metrics are whole everywhere.
    whole = NamedSharding(jax.tree.leaves(shardings)[0].mesh, PartitionSpec())
    return jax.jit(step, donate_argnums=0, in_shardings=(shardings, None, whole), out_shardings=(shardings, whole))


def descend(
    state: TrainState, gradients: Params, tx: optax.GradientTransformation, schedule: Callable, ema_decay: float
) -> tuple[TrainState, Metrics]:
    """The state one step on, and what any step tells of itself."""
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    skipped = skipped_steps(opt_state)
    ema = state.ema and _average(state.ema, params, ema_decay, skipped[0] > 0)
    metrics = {
        "grad_norm": optax.tree.norm(gradients),  # before clipping
        "param_norm": optax.tree.norm(params),
        "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
        "skipped": skipped,
    }
    return dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state, ema=ema), metrics


def in_parts(
    gradients_of: Callable[[Batch], tuple[Params, tuple[Array, Array]]], batch: Batch, parts: int
) -> tuple[Params, tuple[Float[Array, "B"], Float[Array, "B"]]]:
    """Mean gradient over a batch and (losses, times) of its samples, computed in so many parts one after the other.

    Raises InputError when they do not divide the batch.
    """
    if parts == 1:
        return gradients_of(batch)
    size = len(batch["index"])
    if size % parts:
        raise InputError(f"A batch of {size} cannot be computed in {parts} micro-batches; take a divisor of {size}.")
    # Neighbours go to different parts, so that on a mesh no sample leaves its device.
    split = {name: x.reshape(size // parts, parts, *x.shape[1:]).swapaxes(0, 1) for name, x in batch.items()}
    shapes, _ = jax.eval_shape(gradients_of, {name: x[0] for name, x in split.items()})

    def add(total: Params, part: Batch):
        gradients, scores = gradients_of(part)
        return jax.tree.map(jnp.add, total, gradients), scores

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, scores = jax.lax.scan(add, zeros, split)
    return jax.tree.map(lambda x: x / parts, total), jax.tree.map(jnp.ravel, scores)


def sample_losses(
    model: Any, batch: Batch, objective: Objective, key: Key[Array, ""]
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Each sample's loss and flow time (eq. 6 to 8). Clean latent frames have timestep 0 and are not scored."""
    draws = objective.draw(batch, key)
    conditions = objective.condition(model, batch, draws)
    return noisy_losses(model, batch["latents"].astype(jnp.float32), conditions, draws), draws.times


def pair_losses(
    model: Any, before: Any, batch: Batch, objective: Objective, preference: PreferenceSettings, key: Key[Array, ""]
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Each pair's loss of preference and flow time; `before` is the reference, of which no gradient is taken.

    What chance decides is the same for both videos, as it would be for single ones.
    """
    draws = objective.draw(batch, key)
    weights = preference.weights(batch["regions"]) if preference.regions else None

    def missed(model: Any) -> Float[Array, "2 B"]:
        conditions = objective.condition(model, batch, draws)
        videos = (batch[name].astype(jnp.float32) for name in ("latents", REJECTED))
        return jnp.stack([noisy_losses(model, video, conditions, draws, weights) for video in videos])

    losses, _ = preference_losses(missed(model), jax.lax.stop_gradient(missed(before)), preference.beta)
    return losses, draws.times


def noisy_losses(
    model: Any,
    latents: Float[Array, "B T H W C"],
    conditions: Any,
    draws: Draws,
    weights: Float[Array, "B T H W"] | None = None,
) -> Float[Array, "B"]:
    """Each sample's loss at its flow time, with the noise of its key, behind its clean latent frames."""
    (times, keys, clean, _), frames = draws, latents.shape[1]
    noise = flow.gaussian(keys, latents.shape[1:])
    is_noisy = flow.noisy_frames(frames, clean)[:, :, None, None, None]
    noisy = jnp.where(is_noisy, flow.interpolate(latents, noise, times), latents)
    predicted = model(noisy, flow.frame_times(times, frames, clean), conditions)
    return flow.flow_loss(predicted, flow.velocity(latents, noise), clean, weights)


def noise_level_sums(losses: Float[Array, "B"], times: Float[Array, "B"]) -> Metrics:
    """Sum of losses and number of samples in ten equal bins of flow time (0, 1]; sums over steps give averages."""
    member = jax.nn.one_hot(jnp.ceil(times * NOISE_BINS).astype(jnp.int32) - 1, NOISE_BINS)
    return {"noise_loss_sum": losses @ member, "noise_count": member.sum(axis=0)}


def _average(old: Params, params: Params, decay: float, skipped: Array) -> Params:
    """The running average; a skipped step is none, so it leaves it alone."""
    new = optax.incremental_update(params, old, 1 - decay)
    return jax.tree.map(lambda new, old: jnp.where(skipped, old, new), new, old)
