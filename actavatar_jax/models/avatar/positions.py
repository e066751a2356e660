"""Where tokens are: patches of latents and back, sinusoids, and the absolute time and place of tokens.

B batch, T latent frames, H W latent height and width, C latent channels, P tokens per latent frame.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from actavatar_jax.media.clock import FPS, latent_times


def patchify(x: Float[Array, "B T H W C"], patch: tuple[int, int, int]) -> Float[Array, "B T P patchvalues"]:
    """1x2x2 patches in raster order, values in (channel, row, column) order."""
    (batch, frames, height, width, channels), (_, ph, pw) = x.shape, patch
    x = x.reshape(batch, frames, height // ph, ph, width // pw, pw, channels)
    return x.transpose(0, 1, 2, 4, 6, 3, 5).reshape(batch, frames, -1, channels * ph * pw)


def unpatchify(
    x: Float[Array, "B T P patchvalues"], shape: tuple[int, ...], patch: tuple[int, int, int]
) -> Float[Array, "B T H W C"]:
    """Inverse raster, but values in (row, column, channel) order: the backbone's head has channels fastest."""
    (batch, frames, height, width, _), (_, ph, pw) = shape, patch
    x = x.reshape(batch, frames, height // ph, width // pw, ph, pw, -1)
    return x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, frames, height, width, -1)


def frame_sinusoids(latent_frames: int, width: int, rate: int = FPS) -> Float[Array, "T width"]:
    """The absolute time of every latent frame of a video of `rate` frames a second."""
    # Milliseconds over 5: the sinusoid's usual range of 0 .. 1000 for a clip of 5 s.
    return sinusoid(jnp.asarray(latent_times(latent_frames, rate)) * 200, width)


def place_sinusoids(rows: int, columns: int, width: int) -> Float[Array, "P twowidths"]:
    """The row, then the column of every token of a latent frame."""
    axes = np.mgrid[:rows, :columns].reshape(2, -1)
    # Times 100: rows a few radians apart at the sinusoid's middle frequencies.
    return jnp.concatenate([sinusoid(jnp.asarray(100.0 * axis), width) for axis in axes], axis=-1)


def sinusoid(t: Float[Array, "*rest"], width: int) -> Float[Array, "*rest width"]:
    """Cosines, then sines of `t * 10000^(-k / (width/2))`."""
    frequencies = jnp.asarray(10_000.0 ** (-np.arange(width // 2) / (width // 2)), jnp.float32)
    angles = t[..., None].astype(jnp.float32) * frequencies.reshape((1,) * t.ndim + (-1,))
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)
