"""One training step: noise a batch, predict its velocity, descend.

B batch, T latent frames, H W latent height and width, C latent channels, S text tokens, F video frames.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from actavatar_jax.diffusion import flow
from actavatar_jax.models import functional
from actavatar_jax.training.stages import merge
from actavatar_jax.training.state import TrainState

NOISE_BINS = 10  # of flow time, for the loss per noise level

Batch = Mapping[str, Array]
Metrics = dict[str, Array]


def make_train_step(
    module_class: type,
    model_config: Any,
    tx: optax.GradientTransformation,
    time_law: flow.TimeLaw,
    schedule: Callable,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Metrics]]:
    """The jitted `step(state, batch, key) -> (state, metrics)`; it reuses the memory of the state that it is given.

    Gradients are taken with respect to `state.params` only. Weights, gradients and loss are float32; what is
    computed in bfloat16 is `model_config.dtype`'s choice.

    Args of the step:
      batch: `latents` [B, T, H, W, C], `text` [B, S, text_dim], `phase_ids` [B, S], `phase_windows` [B, phases, 2],
        `audio` [B, F, layers, E] and `index` [B], the number of the draw in the stream.
      key: the run's key, the same at every step: noise and time of a sample come from it and the sample's index.
    """

    def loss(params, frozen, batch, key):
        model = functional.bind(module_class, model_config, merge(params, frozen))
        losses, times = sample_losses(model, batch, time_law, key)
        return jnp.mean(losses), (losses, times)

    def step(state: TrainState, batch: Batch, key: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        gradient = jax.value_and_grad(loss, has_aux=True)
        (mean, (losses, times)), gradients = gradient(state.params, state.frozen, batch, key)
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema and optax.incremental_update(params, state.ema, 1 - ema_decay)
        metrics = {
            "loss": mean,
            "grad_norm": optax.tree.norm(gradients),  # before clipping
            "param_norm": optax.tree.norm(params),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32),
            **noise_level_sums(losses, times),
        }
        state = dataclasses.replace(state, step=state.step + 1, params=params, opt_state=opt_state, ema=ema)
        return state, metrics

    return jax.jit(step, donate_argnums=0)


def sample_losses(
    model: Any, batch: Batch, time_law: flow.TimeLaw, key: Key[Array, ""]
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """Each sample's loss and flow time (eq. 6 to 8). Latent frame 0 is clean, has timestep 0 and is not scored."""
    latents = batch["latents"].astype(jnp.float32)
    keys = jax.vmap(jax.random.split)(flow.sample_keys(key, batch["index"]))
    times = time_law.sample(keys[:, 0])
    noise = flow.gaussian(keys[:, 1], latents.shape[1:])
    noisy = flow.keep_first_frame(flow.interpolate(latents, noise, times), latents[:, :1])

    conditions = model.condition(
        batch["text"], batch["phase_ids"], batch["phase_windows"], batch["audio"], latents.shape[1:4]
    )
    predicted = model(noisy, flow.frame_times(times, latents.shape[1]), conditions)
    return flow.flow_loss(predicted, flow.velocity(latents, noise)), times


def noise_level_sums(losses: Float[Array, "B"], times: Float[Array, "B"]) -> Metrics:
    """Sum of losses and number of samples in ten equal bins of flow time (0, 1]; sums over steps give averages."""
    member = jax.nn.one_hot(jnp.ceil(times * NOISE_BINS).astype(jnp.int32) - 1, NOISE_BINS)
    return {"noise_loss_sum": losses @ member, "noise_count": member.sum(axis=0)}
