"""PatchCodec: a linear 4x16x16 code with the VAE's interface, fitted in seconds; for small worlds on a CPU.

Principal components of 16x16 patches: of frame 0 alone, then of groups of four frames, so the rule of 4k+1 frames, the
causality and the shapes are the VAE's. B batch, F video frames, T latent frames, H W latent sides, C channels.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import scipy.linalg
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.errors import InputError
from actavatar_jax.models import functional

SIDE, GROUP = 16, 4
FRAME_VALUES = SIDE * SIDE * 3  # values in a patch of one frame


@dataclasses.dataclass(frozen=True)
class PatchCodecConfig:
    channels: int = 48


class PatchCodec(nnx.Module):
    """latent = (patch - mean) basis / scale, pixels = latent scale basis^T + mean; bases have orthonormal columns."""

    def __init__(self, config: PatchCodecConfig, *, rngs: nnx.Rngs):
        c = config.channels
        if c > FRAME_VALUES:
            raise InputError(f"PatchCodec got {c} channels; a 16x16 patch allows at most {FRAME_VALUES}.")
        orthogonal = nnx.initializers.orthogonal()
        self.first_mean = nnx.Param(jnp.zeros(FRAME_VALUES))
        self.first_basis = nnx.Param(orthogonal(rngs.params(), (FRAME_VALUES, c)))
        self.first_scale = nnx.Param(jnp.ones(c))
        self.rest_mean = nnx.Param(jnp.zeros(GROUP * FRAME_VALUES))
        self.rest_basis = nnx.Param(orthogonal(rngs.params(), (GROUP * FRAME_VALUES, c)))
        self.rest_scale = nnx.Param(jnp.ones(c))

    def encode(self, pixels: Float[Array, "B F h w 3"]) -> Float[Array, "B T H W C"]:
        """Pixels in [-1, 1] -> latents; F = 4k+1, sides multiples of 16."""
        frames, height, width = pixels.shape[1:4]
        if frames % GROUP != 1 or height % SIDE or width % SIDE:
            raise InputError(
                f"PatchCodec got {frames} frames of {height}x{width}; "
                "it takes 4k+1 frames with sides in multiples of 16."
            )
        first = (patches(pixels[:, :1]) - self.first_mean.reshape(1, 1, 1, 1, -1)) @ self.first_basis[...]
        rest = (patches(pixels[:, 1:]) - self.rest_mean.reshape(1, 1, 1, 1, -1)) @ self.rest_basis[...]
        first, rest = first / self.first_scale.reshape(1, 1, 1, 1, -1), rest / self.rest_scale.reshape(1, 1, 1, 1, -1)
        return jnp.concatenate([first, rest], axis=1)

    def decode(self, latents: Float[Array, "B T H W C"]) -> Float[Array, "B F h w 3"]:
        """Latents -> pixels clamped to [-1, 1]."""
        first = (latents[:, :1] * self.first_scale.reshape(1, 1, 1, 1, -1)) @ self.first_basis[...].T
        rest = (latents[:, 1:] * self.rest_scale.reshape(1, 1, 1, 1, -1)) @ self.rest_basis[...].T
        first = unpatches(first + self.first_mean.reshape(1, 1, 1, 1, -1))
        rest = unpatches(rest + self.rest_mean.reshape(1, 1, 1, 1, -1))
        return jnp.clip(jnp.concatenate([first, rest], axis=1), -1, 1)


def fit_patch_codec(clips: Sequence[Float[np.ndarray, "F h w 3"]], channels: int) -> functional.Params:
    """Parameters of a `PatchCodec` with that many components, from clips of 4k+1 frames in [-1, 1].

    Frame 0's components are rotated so that a still patch has nearly the same code in frame 0 and in a later group:
    the transformer then sees one space, and copying the first frame is close to the identity. Scales are half-whitened
    (the square root of each component's deviation): fully white codes give invisible detail the weight of the picture,
    raw ones drown the detail in noise.
    """
    first = np.concatenate([patches(clip[None, i : i + 1])[0] for clip in clips for i in range(len(clip))])
    rest = np.concatenate([patches(clip[None, 1:])[0] for clip in clips])
    first, rest = first.reshape(-1, FRAME_VALUES), rest.reshape(-1, GROUP * FRAME_VALUES)
    first_mean, first_basis = _components(first, channels)
    rest_mean, rest_basis = _components(rest, channels)

    still = np.tile(first - first_mean, GROUP) @ rest_basis
    left, _, right = np.linalg.svd(((first - first_mean) @ first_basis).T @ still)
    first_basis = first_basis @ (left @ right)

    deviation = ((rest - rest_mean) @ rest_basis).std(axis=0)
    scale = np.sqrt(deviation)
    scale *= np.sqrt(np.mean((deviation / scale) ** 2))  # mean variance of the latents is 1
    return {
        "first_mean": first_mean,
        "first_basis": first_basis,
        # A still group of four frames has twice the norm of one frame.
        "first_scale": (scale / np.sqrt(GROUP)).astype(np.float32),
        "rest_mean": rest_mean,
        "rest_basis": rest_basis,
        "rest_scale": scale.astype(np.float32),
    }


def _components(rows: np.ndarray, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and leading principal directions (as columns)."""
    mean = rows.mean(axis=0)
    covariance = np.cov(rows - mean, rowvar=False, bias=True)
    size = len(covariance)
    _, vectors = scipy.linalg.eigh(covariance, subset_by_index=(size - channels, size - 1))
    return mean.astype(np.float32), vectors[:, ::-1].astype(np.float32)


def patches(pixels):
    """[B, F, h, w, 3] -> [B, groups, H, W, values]: one frame is one group, else groups of four."""
    batch, frames, height, width, _ = pixels.shape
    group = 1 if frames == 1 else GROUP
    x = pixels.reshape(batch, frames // group, group, height // SIDE, SIDE, width // SIDE, SIDE, 3)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(
        batch, frames // group, height // SIDE, width // SIDE, group * FRAME_VALUES
    )


def unpatches(x):
    """Inverse of `patches`."""
    batch, groups, height, width, values = x.shape
    group = values // FRAME_VALUES
    x = x.reshape(batch, groups, height, width, group, SIDE, SIDE, 3)
    return x.transpose(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, groups * group, height * SIDE, width * SIDE, 3)
