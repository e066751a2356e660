"""The window bias: how far each latent frame lies outside each phase's window.

The bias is the training-free Prompt Relay form (arXiv 2604.10030), an option beside the paper's bias-free eq. 3.
B batch, T latent frames, S text tokens.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from actavatar_jax.media.clock import FPS, latent_times

EPSILON = 1e-3  # attention left one latent frame outside the plateau is below this; sigma = 1 / ln(1 / epsilon)


def window_penalty(
    phase_ids: Int[Array, "B S"], phase_windows: Float[Array, "B phases 2"], latent_frames: int, rate: int = FPS
) -> Float[Array, "B T S"]:
    """`max(|f - m_k| - w_k, 0)^2 / (2 sigma^2)`, in latent frames; 0 for base, end and padding tokens.

    m_k is the middle of phase k's window, w_k half of it less one latent frame (at least half a frame). `rate` is of
    video frames, per second.
    """
    latent_rate = rate / 4
    start, end = phase_windows[..., 0], phase_windows[..., 1]
    middle, half = (start + end) / 2, jnp.maximum((end - start) / 2 - 1 / latent_rate, 0.5 / latent_rate)
    times = jnp.asarray(latent_times(latent_frames, rate))
    outside = jnp.abs(times[None, :, None] - middle[:, None]) - half[:, None]
    sigma = 1 / math.log(1 / EPSILON)
    penalty = jnp.square(jnp.maximum(outside, 0) * latent_rate) / (2 * sigma**2)  # [B, T, phases]
    index = jnp.broadcast_to(
        jnp.maximum(phase_ids - 1, 0)[:, None], (len(phase_ids), latent_frames, phase_ids.shape[1])
    )
    return jnp.where(phase_ids[:, None] > 0, jnp.take_along_axis(penalty, index, axis=2), 0.0)


def window_bias(
    penalty: Float[Array, "B T S"] | None, tokens: int, strength: Float[Array, ""] | float = 1.0
) -> Float[Array, "B 1 L S"] | None:
    """What is added to the text scores, the same for all `tokens` of a latent frame."""
    return None if penalty is None else -strength * jnp.repeat(penalty, tokens, axis=1)[:, None]
