"""PatchTokens: every place of a picture has pictures of its own to choose from, by k-means; for tests, and as a floor.

It is fitted in minutes without a network, decoding is a lookup, and a token changes its own patch alone. A learned
tokenizer of as many codes has to be better. B batch, h w pixels, H W rows and columns of tokens, V codes.
"""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int
from scipy.cluster.vq import kmeans2

from actavatar_jax.avatarsync.tokenizer.config import PatchTokensConfig
from actavatar_jax.avatarsync.tokenizer.layers import depth_to_space, space_to_depth
from actavatar_jax.avatarsync.tokenizer.model import check_sides
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params


class PatchTokens(nnx.Module):
    """Means of patches, the same interface as `LFQTokenizer`; a code is one-hot."""

    def __init__(self, config: PatchTokensConfig, *, rngs: nnx.Rngs):
        self.config = config
        shape = (*config.tokens, config.codes, 3 * config.patch**2)
        self.means = nnx.Param(jax.random.uniform(rngs.params(), shape, minval=-1, maxval=1))

    def encode(self, pixels: Float[Array, "B h w 3"]) -> Int[Array, "B H W"]:
        """Pixels in [-1, 1] -> the nearest pictures. InputError for pictures of another size."""
        check_sides(self.config, *pixels.shape[1:3])
        patches, means = space_to_depth(pixels, self.config.patch), self.means[...]
        products = jnp.einsum("bhwd,hwvd->bhwv", patches, means, precision="highest")
        return jnp.argmin((means**2).sum(-1)[None] - 2 * products, axis=-1)

    def decode(self, tokens: Int[Array, "B H W"]) -> Float[Array, "B h w 3"]:
        """Tokens -> pixels clamped to [-1, 1]."""
        rows, columns = (jnp.arange(count) for count in self.config.tokens)
        patches = self.means[...][rows[None, :, None], columns[None, None], tokens]
        return jnp.clip(depth_to_space(patches, self.config.patch), -1, 1)

    def decode_codes(self, codes: Float[Array, "B H W V"]) -> Float[Array, "B h w 3"]:
        """One-hot codes, or means of some, -> pixels, not clamped."""
        return depth_to_space(jnp.einsum("bhwv,hwvd->bhwd", codes, self.means[...]), self.config.patch)


def fit_patch_tokens(
    config: PatchTokensConfig, pictures: Float32[np.ndarray, "N h w 3"], seed: int = 0, iterations: int = 20
) -> Params:
    """Parameters of a `PatchTokens` by k-means of the patches at each place of pictures in [-1, 1].

    Raises:
      InputError: fewer pictures than codes, or of another size.
    """
    if len(pictures) < config.codes:
        raise InputError(f"There are {len(pictures)} pictures for {config.codes} codes; accepted are at least as many.")
    check_sides(config, *pictures.shape[1:3])
    patches = np.asarray(space_to_depth(jnp.asarray(pictures), config.patch))
    means = np.empty((*config.tokens, config.codes, patches.shape[-1]), np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty")  # a place of few pictures: it stays as it was
        for row, column in np.ndindex(*config.tokens):
            means[row, column], _ = kmeans2(
                patches[:, row, column], config.codes, iterations, minit="points", rng=np.random.default_rng(seed)
            )
    return {"means": means}
