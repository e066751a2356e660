"""The interpolator's loss: frames between two others, at every scale (as EMA-VFI, the sibling of VFIMamba, has it).

B pairs, h w pixels. Keyframes come from the tokenizer's decoder, so a part of every batch goes through it as well.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from actavatar_jax.avatarsync.losses.pictures import psnr, signed
from actavatar_jax.checks import NOT_NEGATIVE, SHARE, check_fields, whole
from actavatar_jax.functional import Network, Params


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class BetweenLoss:
    """L1 of Laplacian pyramids, of the frames and, with a weight, of the blends before them.

    A batch has `first`, `between` and `second`, uint8 [B, h, w, 3], and `t` float32 [B] in (0, 1).
    """

    network: Network  # an `Interpolator`
    tokenizer: Network | None = None  # an `LFQTokenizer`, whose parameters are frozen["tokenizer"]
    decoded: float = 0.25  # share of a batch that is as the tokenizer has it, where there is one
    blends: float = 0.5  # weight of each
    levels: int = 5

    def __post_init__(self):
        check_fields(self, "interpolator loss's ", decoded=SHARE, blends=NOT_NEGATIVE, levels=whole(1, 10))

    def __call__(
        self, params: Params, frozen: Params, batch: Mapping[str, Array], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        pictures = jnp.stack([signed(batch[name]) for name in ("first", "between", "second")])
        count = round(self.decoded * pictures.shape[1]) if self.tokenizer else 0
        if count:
            made = self._decoded(frozen, pictures[:, :count])
            pictures = jnp.concatenate([made, pictures[:, count:]], axis=1)
        first, wanted, second = pictures / 2 + 0.5
        stages = self.network.bind(params)(first, second, batch["t"][:, None])
        loss = self._distance(stages.frames[:, 0], wanted)
        loss += self.blends * sum(self._distance(blend[:, 0], wanted) for blend in stages.blends)
        nearer = jnp.where((batch["t"] < 0.5)[:, None, None, None], first, second)
        return loss, {"psnr": psnr(stages.frames[:, 0], wanted, 1.0), "psnr_held": psnr(nearer, wanted, 1.0)}

    def _decoded(self, frozen: Params, pictures: Float[Array, "3 B h w 3"]) -> Float[Array, "3 B h w 3"]:
        tokenizer = self.tokenizer.bind(frozen["tokenizer"])
        flat = pictures.reshape(-1, *pictures.shape[2:])
        return jax.lax.stop_gradient(tokenizer.decode(tokenizer.encode(flat))).reshape(pictures.shape)

    def _distance(self, one: Float[Array, "B h w 3"], other: Float[Array, "B h w 3"]) -> Float[Array, ""]:
        pairs = zip(pyramid(one, self.levels), pyramid(other, self.levels), strict=True)
        return sum(jnp.abs(a - b).mean() for a, b in pairs)


def pyramid(x: Float[Array, "B h w 3"], levels: int) -> Iterator[Float[Array, "B _ _ 3"]]:
    """What each scale adds to the next coarser one, from fine to coarse, and last what is left; sides are halved as
    long as they are even."""
    for _ in range(levels):
        if x.shape[1] % 2 or x.shape[2] % 2:
            break
        B, height, width, C = x.shape
        coarse = jax.image.resize(x, (B, height // 2, width // 2, C), "linear")
        yield x - jax.image.resize(coarse, x.shape, "linear")
        x = coarse
    yield x
