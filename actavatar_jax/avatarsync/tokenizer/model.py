"""LFQTokenizer: a picture is a grid of tokens, each of them the signs of a few numbers.

B batch, h w pixels, H W rows and columns of tokens, K bits.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from actavatar_jax.avatarsync.tokenizer.config import LFQConfig, SmallLFQConfig
from actavatar_jax.avatarsync.tokenizer.lfq import quantise, to_codes, to_indices
from actavatar_jax.avatarsync.tokenizer.open_magvit import Decoder, Encoder
from actavatar_jax.avatarsync.tokenizer.small import SmallDecoder, SmallEncoder
from actavatar_jax.errors import InputError
from actavatar_jax.models.execution import Execution


class LFQTokenizer(nnx.Module):
    """Its config says which encoder and decoder it has."""

    def __init__(self, config: LFQConfig | SmallLFQConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        small = isinstance(config, SmallLFQConfig)
        self.config = config
        self.encoder = (SmallEncoder if small else Encoder)(config, execution, rngs=rngs)
        self.decoder = (SmallDecoder if small else Decoder)(config, execution, rngs=rngs)

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> tuple[Float[Array, "B h w 3"], Float[Array, "B H W K"]]:
        """Pixels as their tokens have them, with gradients straight through the signs; and the numbers before these."""
        numbers = self.embed(pixels)
        return self.decode_codes(quantise(numbers)), numbers

    def encode(self, pixels: Float[Array, "B h w 3"]) -> Int[Array, "B H W"]:
        """Pixels in [-1, 1] -> tokens in raster order. Raises InputError as `embed`."""
        return to_indices(self.embed(pixels))

    def decode(self, tokens: Int[Array, "B H W"]) -> Float[Array, "B h w 3"]:
        """Tokens -> pixels clamped to [-1, 1]."""
        return jnp.clip(self.decode_codes(to_codes(tokens, self.config.bits)), -1, 1)

    def embed(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B H W K"]:
        """The numbers whose signs are the code.

        Raises:
          InputError: a side is no multiple of the config's stride, or not that of the config's places.
        """
        check_sides(self.config, *pixels.shape[1:3])
        return self.encoder(pixels).astype(jnp.float32)

    def decode_codes(self, codes: Float[Array, "B H W K"]) -> Float[Array, "B h w 3"]:
        """Codes of +1 and -1, or means of some, -> pixels, not clamped."""
        return self.decoder(codes).astype(jnp.float32)


def check_sides(config, height: int, width: int) -> None:
    """InputError as `LFQTokenizer.embed`."""
    stride, places = config.stride, getattr(config, "tokens", None)
    if places and (height, width) != (stride * places[0], stride * places[1]):
        raise InputError(
            f"The tokenizer got pictures of {height}x{width}; everything has its place in those of "
            f"{stride * places[0]}x{stride * places[1]} that it takes."
        )
    if height % stride or width % stride:
        raise InputError(f"The tokenizer got pictures of {height}x{width}; it takes sides in multiples of {stride}.")
