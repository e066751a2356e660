"""The transformer as the sampler calls it: a video, or windows of a long one, in every branch of guidance.

R rows of conditions, G branches that take from them, T latent frames, H W latent sides, C latent channels, S text and I
picture tokens, E widths of encoders, n features of speech, P tokens of a latent frame, W windows.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int

from actavatar_jax.diffusion.guidance import combine
from actavatar_jax.echomimic.chunks import WINDOW, blend_windows, cut_windows
from actavatar_jax.echomimic.config import Conditions
from actavatar_jax.functional import Network, Params
from actavatar_jax.models import Execution


@functools.partial(jax.jit, static_argnames=("network", "riflex"))
def embed(
    network: Network,
    params: Params,
    text: Float[Array, "R S E"],
    image: Float[Array, "I e"],
    audio: Float[Array, "R n *layers a"],
    known: Float[Array, "T H W K"],
    face: Float[Array, " P"] | None,
    penalty: Float[Array, "R T S"] | None = None,
    riflex: int | None = None,
) -> Conditions:
    """Conditions of rows that differ in text and speech, with every block's keys and values."""
    model = network.bind(params)
    return model.cache(_condition(model, text, image, audio, known, face, penalty, riflex))


@functools.partial(jax.jit, static_argnames=("network", "riflex"))
def embed_windows(
    network: Network,
    params: Params,
    text: Float[Array, "R S E"],
    image: Float[Array, "I e"],
    audios: list[Float[Array, "R _ *layers a"]],
    known: Float[Array, "T H W K"],
    face: Float[Array, " P"] | None,
    penalty: Float[Array, "R T S"] | None = None,
    riflex: int | None = None,
) -> tuple[Conditions | None, Conditions]:
    """Conditions of all windows but the last, stacked (None where there is but one), and of the last.

    Keys and values of them all would be large, and are quickly computed at each step. As in the original, all windows
    are told what is known at the beginning of the video: its first latent frame is the first of each.
    """
    model = network.bind(params)
    *others, last = (
        _condition(
            model,
            text,
            image,
            audio,
            known[: end - start],
            face,
            None if penalty is None else penalty[:, start:end],
            riflex,
        )
        for audio, (start, end) in zip(audios, cut_windows(len(known)), strict=True)
    )
    return (jax.tree.map(lambda *leaves: jnp.stack(leaves), *others) if others else None), last


def _condition(model, text, image, audio, known, face, penalty, riflex):
    image, known, face = (None if x is None else jnp.stack([x] * len(text)) for x in (image, known, face))
    return model.condition(text, image, audio, known, face, window_penalty=penalty, riflex=riflex)


@functools.cache
def velocity_function(network: Network) -> Callable:
    """velocity(latents [1, T, H, W, C], timesteps [1, T], (params, conditions), (taken, weights)) -> the guided one.

    One object for each network, so that programs are reused.
    """

    def velocity(latents, timesteps, params_and_conditions, now):
        params, conditions = params_and_conditions
        return _guided(network.bind(params), latents, timesteps, conditions, *now)

    return velocity


@functools.partial(jax.jit, static_argnames="network")
def embed_times(network: Network, params: Params, times: Float[Array, " steps"]) -> Float[Array, "steps E"]:
    """What the blocks are told of the times of all steps."""
    return network.bind(params).modulations(times).astype(jnp.float32)


@functools.cache
def cached_function(network: Network, shared: bool) -> Callable:
    """As `velocity_function`, with (taken, weights, made) of a step and the memory of `teacache_memory`.

    A branch that is not made adds to its tokens what the blocks added when they last ran, be it, where the memory is
    `shared`, for another branch. Speech is first, as in the original.
    """

    def velocity(latents, timesteps, params_and_conditions, now, memory):
        (params, conditions), (taken, weights, made) = params_and_conditions, now
        model, results = network.bind(params), []
        for branch in reversed(range(len(taken))):
            own, slot = _take(conditions, taken[branch][None]), 0 if shared else branch
            x, time, modulation = model.begin(latents, timesteps, own)
            after = jax.lax.cond(
                made[branch],
                lambda x=x, modulation=modulation, own=own: model.through_blocks(x, modulation, own),
                lambda x=x, slot=slot, memory=memory: x + memory[slot],
            )
            memory = jnp.where(made[branch], memory.at[slot].set(after - x), memory)
            results.insert(0, model.end(after, time, latents.shape))
        return combine(weights, jnp.concatenate(results))[None], memory

    return velocity


def teacache_memory(network: Network, slots: int, grid: tuple[int, int, int]) -> Float[Array, "slots 1 T P D"]:
    """What the blocks added: nothing yet."""
    c, e = network.config, network.execution or Execution()
    tokens = (grid[1] // c.patch[1]) * (grid[2] // c.patch[2])
    return jnp.zeros((slots, 1, grid[0], tokens, c.width), e.stream or e.dtype)


@functools.cache
def windows_function(network: Network) -> Callable:
    """As `velocity_function`, with the conditions of `embed_windows` and (taken, weights, fade) of a step."""

    def velocity(latents, timesteps, params_and_conditions, now):
        (params, (others, last)), (taken, weights, fade) = params_and_conditions, now
        model, windows = network.bind(params), cut_windows(latents.shape[1])

        def one(start_and_conditions):
            start, conditions = start_and_conditions
            part = jax.lax.dynamic_slice_in_dim(latents, start, WINDOW, axis=1)
            return _guided(model, part, timesteps[:, :WINDOW], conditions, taken, weights)

        starts = jnp.asarray([start for start, _ in windows[:-1]])
        velocities = [] if others is None else list(jax.lax.map(one, (starts, others)))
        rest = slice(*windows[-1])
        velocities.append(_guided(model, latents[:, rest], timesteps[:, rest], last, taken, weights))
        return blend_windows(windows, velocities, fade)

    return velocity


def _guided(
    model: Any,
    latents: Float[Array, "1 T H W C"],
    timesteps: Float[Array, "1 T"],
    conditions: Conditions,
    taken: Int[Array, " G"],
    weights: Float[Array, " G"],
) -> Float32[Array, "1 T H W C"]:
    latents, timesteps = (jnp.concatenate([x] * len(taken)) for x in (latents, timesteps))
    return combine(weights, model(latents, timesteps, _take(conditions, taken)))[None]


def _take(conditions: Conditions, rows: Int[Array, " G"]) -> Conditions:
    tokens, keys_values = conditions.tokens, conditions.keys_values  # there is one of them
    return dataclasses.replace(
        conditions,
        known=conditions.known[rows],
        strengths=jax.tree.map(lambda x: x[rows], conditions.strengths),
        tokens=jax.tree.map(lambda x: x[rows], tokens),
        keys_values=jax.tree.map(lambda x: x[:, :, rows], keys_values),  # layers and key or value come first
        window_penalty=None if conditions.window_penalty is None else conditions.window_penalty[rows],
    )
