"""Time in text cross-attention by rotation: TIE (arXiv 2605.10543) and two forms to compare it with.

Queries turn with the time of their latent frame, keys with the window of their phase, so that a score depends on the
distance of the two; a key of a long window is spread over its length, as the mean of a rotation over an interval is.
No parameters, no bias: fused kernels stay usable. A text without phases has no time, and neither keys nor queries of
its sample turn. Nor do keys of padding.

B batch, T latent frames, S text tokens, L queries or keys, N heads, K head dim; pairs are (d, d + K/2).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int

from actavatar_jax.media.clock import FPS

BASE_WINDOW = (0.0, 10.0)  # seconds, of the base text, whatever the clip's length


def is_timed(phase_ids: Int[Array, "B S"]) -> Bool[Array, "B"]:
    """Whether a text has phases."""
    return (phase_ids > 0).any(axis=1)


def key_turns(
    form: str, phase_ids: Int[Array, "B S"], phase_windows: Float[Array, "B phases 2"], head_dim: int, scale: float
) -> Float[Array, "B S 2 pairs"]:
    """Cosines and sines by which keys turn, times how much of them is left.

    `form` is of `prompt.forms.TURNS`; times are multiplied by `scale`. Of a window [s, e], `tie` takes the angle of its
    middle and sin(x) / x of half its length, divided by the mean of that over all pairs.
    """
    base = jnp.broadcast_to(jnp.asarray(BASE_WINDOW, jnp.float32), (len(phase_ids), 1, 2))
    windows = jnp.concatenate([base, phase_windows.astype(jnp.float32)], axis=1)
    windows = jnp.take_along_axis(windows, jnp.maximum(phase_ids, 0)[..., None], axis=1)  # [B, S, 2]
    start, end = windows[..., :1], windows[..., 1:]
    rates = scale * _frequencies(head_dim)[None, None]
    if form == "original":
        angles = jnp.where(np.arange(rates.size)[None, None] < rates.size // 2, rates * start, rates * end)
    else:
        angles = rates * (start + end) / 2
    turns = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=2)
    if form == "tie":
        left = jnp.sinc(rates * (end - start) / 2 / np.pi)
        turns *= (left / left.mean(axis=-1, keepdims=True))[:, :, None]
    timed = (phase_ids >= 0) & is_timed(phase_ids)[:, None]
    return jnp.where(timed[..., None, None], turns, _still(turns))


def query_turns(
    timed: Bool[Array, "B"], frames: int, head_dim: int, scale: float, rate: int = FPS
) -> Float[Array, "B T 2 pairs"]:
    """Cosines and sines by which the queries of each latent frame turn: by the middle of what it lasts, in seconds.

    A latent frame is four frames, of `rate` a second.
    """
    index = np.arange(frames)
    middles = np.where(index == 0, 0.125, index - 0.25) / (rate / 4)
    angles = middles[:, None] * scale * _frequencies(head_dim)
    turns = jnp.asarray(np.stack([np.cos(angles), np.sin(angles)], axis=1), jnp.float32)[None]
    return jnp.where(timed[:, None, None, None], turns, _still(turns))


def turn(x: Float[Array, "B L N K"], turns: Float[Array, "B L 2 pairs"]) -> Float[Array, "B L N K"]:
    """Turns each head's pairs; computed in float32, returned in the dtype of `x`."""
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = turns[:, :, 0, None], turns[:, :, 1, None]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1).astype(x.dtype)


def _frequencies(head_dim: int) -> Float32[np.ndarray, " pairs"]:
    pairs = head_dim // 2
    return np.float32(10_000.0 ** (-np.arange(pairs) / pairs))


def _still(turns: Array) -> Array:
    """Cosines 1 and sines 0 of the same shape."""
    return jnp.concatenate([jnp.ones_like(turns[:, :, :1]), jnp.zeros_like(turns[:, :, 1:])], axis=2)
