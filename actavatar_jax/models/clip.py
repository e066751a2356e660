"""CLIPVision: the picture tower of CLIP, up to the hidden state that video transformers look at.

B batch, S tokens (the class token and one for each patch), D width, N heads, K head dim.
Source: CLIP (arXiv 2103.00020); Wan-Video/Wan2.1 `wan/modules/clip.py` for the variant.
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from actavatar_jax.checks import Limit, check_fields
from actavatar_jax.errors import InputError
from actavatar_jax.models.attention import attention
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import gelu, layer_norm, linear
from actavatar_jax.models.limits import DEPTH, EPSILON, SIDE, SIZE


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class CLIPVisionConfig:
    """Defaults are ViT-H/14 of Open-CLIP with XLM-RoBERTa, of whose 32 blocks Wan leaves out the last."""

    width: int = 1280
    heads: int = 16
    ffn: int = 5120
    layers: int = 31
    image_size: int = 224
    patch: int = 14
    eps: float = 1e-5

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("width", "heads", "ffn", "image_size"), SIZE),
        "layers": DEPTH,
        "patch": SIDE,
        "eps": EPSILON,
    }

    def __post_init__(self):
        check_fields(self, "image encoder's ", **self.LIMITS)
        if self.width % self.heads or self.image_size % self.patch:
            raise InputError(
                f"CLIP got a width of {self.width} with {self.heads} heads and pictures of {self.image_size} with "
                f"patches of {self.patch}; accepted are multiples."
            )

    @property
    def tokens(self) -> int:
        """Of a picture: 257 in the published model."""
        return (self.image_size // self.patch) ** 2 + 1


class CLIPVision(nnx.Module):
    """A picture -> the hidden state after the last block, without the norm that follows in CLIP."""

    def __init__(self, config: CLIPVisionConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c, e = config, execution
        self.config, self.execution = c, e
        normal = nnx.initializers.normal(c.width**-0.5)
        self.patch_embedding = linear(3 * c.patch**2, c.width, e, rngs, use_bias=False)
        self.class_token = nnx.Param(normal(rngs.params(), (c.width,)))
        self.position = nnx.Param(normal(rngs.params(), (c.tokens, c.width)))
        self.norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.layers = nnx.vmap(lambda r: Layer(c, e, rngs=r))(rngs.split(c.layers))

    def __call__(self, pixels: Float[Array, "B h w 3"]) -> Float[Array, "B S D"]:
        """Float32 tokens of pictures of `image_size`, standardised per colour.

        Raises:
          InputError: the pictures have another size; positions are not interpolated.
        """
        c = self.config
        if pixels.shape[1:3] != (c.image_size, c.image_size):
            raise InputError(
                f"CLIP got pictures of {pixels.shape[2]}x{pixels.shape[1]}; accepted is {c.image_size}x{c.image_size}."
            )
        patches = self.patch_embedding(patchify(pixels, c.patch)).astype(jnp.float32)
        first = jnp.broadcast_to(self.class_token[...].astype(jnp.float32), (pixels.shape[0], 1, c.width))
        x = jnp.concatenate([first, patches], axis=1) + self.position[...].astype(jnp.float32)[None]
        x, _ = jax.lax.scan(lambda x, layer: (layer(x), None), self.norm(x), self.layers)
        return x


class Layer(nnx.Module):
    """Pre-norm self-attention, then pre-norm feed-forward."""

    def __init__(self, config: CLIPVisionConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e = config, execution
        self.attn_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.qkv = linear(c.width, 3 * c.width, e, rngs)
        self.out = linear(c.width, c.width, e, rngs)
        self.ffn_norm = layer_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.up = linear(c.width, c.ffn, e, rngs)
        self.down = linear(c.ffn, c.width, e, rngs)
        self.heads, self.execution = c.heads, e

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        x = x + self.attend(self.attn_norm(x))
        return x + self.down(gelu(self.up(self.ffn_norm(x))))

    def attend(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        q, k, v = (part.reshape(*x.shape[:2], self.heads, -1) for part in jnp.split(self.qkv(x), 3, axis=-1))
        return self.out(attention(q, k, v, self.execution).reshape(x.shape))


def patchify(pixels: Float[Array, "B h w 3"], patch: int) -> Float[Array, "B patches patchvalues"]:
    """Patches in raster order, values in (colour, row, column) order."""
    batch, height, width, colours = pixels.shape
    x = pixels.reshape(batch, height // patch, patch, width // patch, patch, colours)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(batch, -1, colours * patch**2)
