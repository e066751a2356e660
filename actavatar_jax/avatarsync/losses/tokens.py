"""The keyframe transformer's losses: of tokens, and behind them of decoded pixels.

C clips, T units and K frames of each, N tokens of a frame, V codes, D bits, h w pixels.
"""

import dataclasses
import typing
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from actavatar_jax.avatarsync.keyframes import Seen, seen_units
from actavatar_jax.avatarsync.losses.pictures import psnr, signed
from actavatar_jax.avatarsync.losses.pixels import PixelLoss
from actavatar_jax.avatarsync.tokenizer import lfq
from actavatar_jax.avatarsync.units.table import NULL, unit_table
from actavatar_jax.checks import POSITIVE, SHARE, check_fields
from actavatar_jax.functional import Network, Params


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class TokenLoss:
    """Cross-entropy of keyframes' tokens, each told those before it; with `pixels` phase 2 of the paper.

    A batch has `reference` int32 [C, N], all `units` of the clips int32 [C, T] (`pad` where there are fewer), the
    `places` int32 [C, K] among them of the frames, and those frames' `tokens` int32 [C, K, N]; for phase 2 `pixels`
    uint8 [C, K, h, w, 3] besides.
    """

    network: Network  # a `KeyframeTransformer`
    null_share: float = 0.1  # of frames that are told no unit, which guidance needs
    pixels: PixelLoss | None = None
    tokenizer: Network | None = None  # an `LFQTokenizer`, whose parameters are frozen["tokenizer"]
    temperature: float = 1.0  # of the softmax that gradients of pixels pass

    def __post_init__(self):
        check_fields(self, "keyframe loss's ", null_share=SHARE, temperature=POSITIVE)

    def __call__(
        self, params: Params, frozen: Params, batch: Mapping[str, Array], key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        drop, noise = jax.random.split(key)
        reference, tokens, model = batch["reference"], batch["tokens"], self.network.bind(params)
        places = batch["places"]
        untold = jax.random.bernoulli(drop, self.null_share, places.shape)
        ids, there = (
            jnp.take_along_axis(x, places[..., None], axis=1) for x in seen_units(batch["units"], model.config.visible)
        )
        logits = model(reference, Seen(jnp.where(untold[..., None], unit_table().id(NULL), ids), there), tokens)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, tokens)
        measured = _of_changed(losses, logits, reference, tokens)
        loss = losses.mean()
        if self.pixels is None:
            return loss, measured
        decoder = self.tokenizer.bind(frozen["tokenizer"])
        codes = straight_through(logits, decoder.config.bits, self.temperature, noise)
        grid = (-1, *model.config.tokens)
        made = decoder.decode_codes(codes.reshape(*grid, codes.shape[-1]))
        wanted = signed(batch["pixels"]).reshape(made.shape)
        more, parts = self.pixels(frozen, made, wanted)
        ceiling = decoder.decode(tokens.reshape(grid))
        quality = {"psnr": psnr(jnp.clip(made, -1, 1), wanted, 2.0), "psnr_ceiling": psnr(ceiling, wanted, 2.0)}
        return loss + more, measured | parts | quality


def straight_through(
    logits: Float[Array, "C K N V"], bits: int, temperature: float, key: Key[Array, ""]
) -> Float[Array, "C K N D"]:
    """The code of a token drawn by the logits, with the gradient of the mean code of their softmax."""
    codes = lfq.to_codes(jnp.arange(2**bits), bits)
    soft = jnp.matmul(jax.nn.softmax(logits / temperature, axis=-1), codes, precision="highest")
    drawn = jnp.argmax(logits + jax.random.gumbel(key, logits.shape), axis=-1)
    return soft + jax.lax.stop_gradient(codes[drawn] - soft)


def _of_changed(
    losses: Float[Array, "C K N"],
    logits: Float[Array, "C K N V"],
    reference: Int[Array, "C N"],
    tokens: Int[Array, "C K N"],
) -> dict[str, Float[Array, ""]]:
    """Of tokens that are not the reference's: most are, and copying would look like learning. NaN where none is."""
    changed = tokens != reference[:, None]
    count, right = changed.sum(), jnp.argmax(logits, axis=-1) == tokens
    return {
        "loss_changed": (losses * changed).sum() / count,
        "right_changed": (right & changed).sum() / count,
        "right": right.mean(),
        "changed": changed.mean(),
    }
