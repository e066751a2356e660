"""Losses of decoded keyframes (phase 2 of the paper): how different they look, and whether it is the same person.

Both see through networks that other people trained; without its network a term is off. B pictures, h w pixels.
"""

import dataclasses
import typing

import jax.numpy as jnp
from jaxtyping import Array, Float

from actavatar_jax.checks import NOT_NEGATIVE, check_fields
from actavatar_jax.functional import Network, Params


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class PixelLoss:
    """`perceptual` LPIPS + `identity` (1 - cosine of embeddings), means over pictures; frozen parameters under these
    names. InputError for weights below 0."""

    lpips: Network | None = None  # pictures [B, h, w, 3] twice -> [B]
    faces: Network | None = None  # pictures [B, h, w, 3] -> embeddings [B, E]
    perceptual: float = 1.0
    identity: float = 0.5

    def __post_init__(self):
        check_fields(self, "pixel loss's ", perceptual=NOT_NEGATIVE, identity=NOT_NEGATIVE)

    def __call__(
        self, frozen: Params, made: Float[Array, "B h w 3"], wanted: Float[Array, "B h w 3"]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The weighted sum, and its terms. Pixels in [-1, 1]."""
        loss, terms = jnp.zeros(()), {}
        if self.lpips is not None:
            terms["lpips"] = self.lpips.bind(frozen["lpips"])(made, wanted).mean()
            loss += self.perceptual * terms["lpips"]
        if self.faces is not None:
            embed = self.faces.bind(frozen["faces"])
            terms["identity"] = 1 - _cosine(embed(made), embed(wanted)).mean()
            loss += self.identity * terms["identity"]
        return loss, terms


def _cosine(one: Float[Array, "B E"], other: Float[Array, "B E"]) -> Float[Array, " B"]:
    lengths = jnp.sqrt((one**2).sum(-1) * (other**2).sum(-1) + 1e-12)
    return (one * other).sum(-1) / lengths
