"""The tokenizer's loss: pictures as their tokens have them, and what keeps codes sure and all of them in use.

B batch, h w pixels. Open-MAGVIT2's has a perceptual and an adversarial term besides, which small pictures do without.
"""

import dataclasses
import typing
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from actavatar_jax.avatarsync.losses.pictures import psnr, signed
from actavatar_jax.avatarsync.tokenizer import lfq
from actavatar_jax.checks import NOT_NEGATIVE, POSITIVE, Limit, check_fields
from actavatar_jax.functional import Network, Params

WHOLE = (0.0, 1.0, 0.0, 1.0)


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class ReconstructionLoss:
    """L1 + L2 + entropy (H_sample - H_batch) + commit. A batch has `pixels`, uint8 [B, h, w, 3]."""

    network: Network  # an `LFQTokenizer`
    entropy: float = 0.02
    commit: float = 0.05
    temperature: float = 0.5  # of the softmax over codes; the 0.01 of large models moves numbers near 0 alone
    focus: float = 0.0  # added to the weight of pixels in the box, which is 1 elsewhere
    box: tuple[float, ...] = WHOLE  # top, bottom, left, right, as shares of the sides

    def __post_init__(self):
        box = Limit("a list of four shares from 0 to 1: top, bottom, left, right", _is_box)
        weights = dict.fromkeys(("entropy", "commit", "focus"), NOT_NEGATIVE)
        check_fields(self, "tokenizer loss's ", **weights, temperature=POSITIVE, box=box)

    def __call__(
        self, params: Params, frozen: Params, batch: Mapping[str, Array], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        pixels = signed(batch["pixels"])
        made, numbers = self.network.bind(params)(pixels)
        rows, columns = self.inside(*pixels.shape[1:3])
        weight = np.ones((1, *pixels.shape[1:3], 1), np.float32)
        weight[:, rows, columns] += self.focus
        error = made - pixels
        recon = ((jnp.abs(error) + error**2) * weight).mean() / weight.mean()
        codes = lfq.losses(numbers, self.temperature)
        loss = recon + self.entropy * codes.entropy + self.commit * codes.commit
        shown = jnp.clip(made, -1, 1)
        return loss, {
            "psnr": psnr(shown, pixels, 2.0),
            "psnr_box": psnr(shown[:, rows, columns], pixels[:, rows, columns], 2.0),
            "commit": codes.commit,
            "sample_entropy": codes.sample_entropy,
            "batch_entropy": codes.batch_entropy,
        }

    def inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of the box in pictures of this size."""
        top, bottom, left, right = self.box
        return slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))


def _is_box(box: tuple[float, ...]) -> bool:
    return len(box) == 4 and 0 <= box[0] < box[1] <= 1 and 0 <= box[2] < box[3] <= 1
