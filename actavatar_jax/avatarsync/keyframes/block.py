"""A block of the keyframe transformer: RMSNorm, attention with rotary places, RMSNorm, SwiGLU; no biases.

B sequences, L tokens of one, D width, H heads, K head dim; C clips, T frames of one, N tokens of a frame, U units seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from actavatar_jax.avatarsync.keyframes.config import KeyframeConfig
from actavatar_jax.models.avatar.rope import apply_rope
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import linear, rms_norm

SPREAD = 0.02  # of all kernels, as LlamaGen draws them


class KeysValues(NamedTuple):
    """Keys and values of some tokens, [..., tokens, H, K] each."""

    keys: Float[Array, "*tokens H K"]
    values: Float[Array, "*tokens H K"]


class Block(nnx.Module):
    """Its two halves are apart: what attention sees differs between units, prefix and frames."""

    def __init__(self, config: KeyframeConfig, execution: Execution, *, rngs: nnx.Rngs):
        c, e, normal = config, execution, nnx.initializers.normal(SPREAD)
        self.heads = c.heads
        self.attention_norm = rms_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.query_key_value = linear(c.width, 3 * c.width, e, rngs, normal, use_bias=False)
        self.out = linear(c.width, c.width, e, rngs, normal, use_bias=False)
        self.ffn_norm = rms_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.gate = linear(c.width, c.ffn, e, rngs, normal, use_bias=False)
        self.up = linear(c.width, c.ffn, e, rngs, normal, use_bias=False)
        self.down = linear(c.ffn, c.width, e, rngs, normal, use_bias=False)

    def project(
        self, x: Float[Array, "B L D"], rope: Float[Array, "2 L pairs"]
    ) -> tuple[Float[Array, "B L H K"], KeysValues]:
        """Queries, and keys and values."""
        parts = self.query_key_value(self.attention_norm(x)).reshape(*x.shape[:2], 3, self.heads, -1)
        q, k, v = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
        return apply_rope(q, rope), KeysValues(apply_rope(k, rope), v)

    def finish(self, x: Float[Array, "B L D"], heard: Float[Array, "B L H K"]) -> Float[Array, "B L D"]:
        """The rest of the block behind what attention made."""
        x = x + self.out(heard.reshape(x.shape))
        y = self.ffn_norm(x)
        return x + self.down(nnx.silu(self.gate(y)) * self.up(y))


def attend(queries: Float[Array, "B L H K"], seen: KeysValues, mask: Bool[Array, "L S"]) -> Float[Array, "B L H K"]:
    """Attention within sequences; of [L, S] those that may be seen."""
    scores = jnp.einsum("blhk,bshk->bhls", queries, seen.keys, preferred_element_type=jnp.float32)
    shares = _softmax(scores, mask[None, None], queries)
    return jnp.einsum("bhls,bshk->blhk", shares, seen.values)


def attend_frames(
    queries: Float[Array, "C T L H K"],
    units: KeysValues,
    prefix: KeysValues,
    own: KeysValues,
    there: Bool[Array, "C T U"],
    not_later: Bool[Array, "L N"],
) -> Float[Array, "C T L H K"]:
    """Attention of frames to their units [C, T, U, ..], the prefix of their clip [C, S, ..], and themselves
    [C, T, N, ..]: three products and one softmax, so that the prefix is there once for all frames."""
    sources = (("ctuhk", units), ("cuhk", prefix), ("ctuhk", own))
    scores = [
        jnp.einsum(f"ctlhk,{axes}->cthlu", queries, seen.keys, preferred_element_type=jnp.float32)
        for axes, seen in sources
    ]
    masks = [there[:, :, None, None], jnp.ones((1, 1, 1, 1, scores[1].shape[-1]), bool), not_later[None, None, None]]
    masks = [jnp.broadcast_to(mask, part.shape) for mask, part in zip(masks, scores, strict=True)]
    shares = _softmax(jnp.concatenate(scores, axis=-1), jnp.concatenate(masks, axis=-1), queries)
    first, second = scores[0].shape[-1], scores[0].shape[-1] + scores[1].shape[-1]
    return sum(
        jnp.einsum(f"cthlu,{axes}->ctlhk", share, seen.values)
        for share, (axes, seen) in zip(jnp.split(shares, (first, second), axis=-1), sources, strict=True)
    )


def _softmax(
    scores: Float[Array, "*batch S"], mask: Bool[Array, "*#batch S"], queries: Float[Array, "..."]
) -> Float[Array, "*batch S"]:
    """In float32; in the dtype of the queries."""
    scores = jnp.where(mask, scores * queries.shape[-1] ** -0.5, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1).astype(queries.dtype)
