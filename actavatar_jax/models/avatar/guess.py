"""The best linear guess from noisy latents alone: what a small model sees, and what it need not learn.

B batch, T latent frames, H W latent height and width, C latent channels; eq. numbers are ActAvatar's.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
    """Mean and deviation of the velocity, knowing the noisy latents alone, if data were N(0, variance) (eq. 6, 7).

    What a network adds to the mean in units of the deviation is of size 1 at every flow time, and noise need not pass
    through its tokens: the preconditioning of Karras et al. (arXiv 2206.00364, table 1) for straight paths.
    """
    t, variance = times[:, :, None, None, None], variance[None, None, None, None]
    total = (1 - t) ** 2 * variance + t**2
    return (t - (1 - t) * variance) / total * latents, jnp.sqrt(variance / total)
