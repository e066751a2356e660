"""The best linear guess from noisy latents alone: what a small model sees, and what it need not learn.

B batch, T latent frames, H W latent height and width, C latent channels; eq. numbers are ActAvatar's.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float


def precondition(network: Callable, variance: Float[Array, "C"]) -> Callable:
    """The velocity function whose `network(latents, timesteps, conditions)` adds to the best linear guess.

    The preconditioning of Karras et al. (arXiv 2206.00364, table 1) for straight paths: what the network adds, in units
    of the guess's deviation, is of size 1 at every flow time, and noise need not pass through its tokens.
    """

    def velocity(latents: Float[Array, "B T H W C"], timesteps: Float[Array, "B T"], conditions: Any) -> Array:
        times = timesteps / 1000
        known, deviation = gaussian_velocity(latents, times, variance)
        return known + deviation * network(gaussian_data(latents, times, variance), timesteps, conditions)

    return velocity


def gaussian_data(
    latents: Float[Array, "B T H W C"], times: Float[Array, "B T"], variance: Float[Array, "C"]
) -> Float[Array, "B T H W C"]:
    """Mean of the clean latents, knowing the noisy ones alone, if data were N(0, variance) (eq. 6).

    What a network sees in their place: clean latents are themselves, and of pure noise nothing is left, so that at
    time 1 no noise has to be kept out of its tokens.
    """
    t, variance = times[:, :, None, None, None], variance[None, None, None, None]
    return (1 - t) * variance / ((1 - t) ** 2 * variance + t**2) * latents


def gaussian_velocity(
    latents: Float[Array, "B T H W C"], times: Float[Array, "B T"], variance: Float[Array, "C"]
) -> tuple[Float[Array, "B T H W C"], Float[Array, "B T 1 1 C"]]:
    """Mean and deviation of the velocity, knowing the noisy latents alone, if data were N(0, variance) (eq. 6, 7)."""
    t, variance = times[:, :, None, None, None], variance[None, None, None, None]
    total = (1 - t) ** 2 * variance + t**2
    return (t - (1 - t) * variance) / total * latents, jnp.sqrt(variance / total)
