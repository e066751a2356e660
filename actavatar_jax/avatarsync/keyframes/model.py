"""KeyframeTransformer: a keyframe for every unit of speech, token by token, all keyframes of all clips side by side.

C clips, T frames of one, U units that a frame sees, N tokens of a frame, L layers, H heads, K head dim, V codes,
D width.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from actavatar_jax.avatarsync.keyframes.block import SPREAD, Block, KeysValues, attend, attend_frames
from actavatar_jax.avatarsync.keyframes.config import KeyframeConfig
from actavatar_jax.avatarsync.keyframes.mask import Seen
from actavatar_jax.avatarsync.keyframes.rope import rope_table, unturned
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import linear, rms_norm

OF_UNITS, OF_REFERENCE, OF_FRAMES = range(3)  # rows of the segments' embedding


class Conditions(NamedTuple):
    """What frames see beside themselves: units gathered for each, [L, C, T, U, H, K], and the prefix of their clip (B
    and the reference), [L, C, 1 + N, H, K]: it has no axis of frames."""

    units: KeysValues
    prefix: KeysValues
    seen: Seen


class KeyframeTransformer(nnx.Module):
    """Reference tokens, units -> tokens of keyframes."""

    def __init__(self, config: KeyframeConfig, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c = self.config = config

        def embedding(*shape: int) -> nnx.Param:
            return nnx.Param(SPREAD * jax.random.normal(rngs.params(), (*shape, c.width)))

        self.units, self.tokens = embedding(c.units), embedding(c.vocabulary)
        self.start, self.segments, self.places = embedding(1), embedding(3), embedding(c.length)
        self.blocks = nnx.vmap(lambda r: Block(c, execution, rngs=r))(rngs.split(c.layers))
        self.norm = rms_norm(c.width, epsilon=c.eps, rngs=rngs)
        self.head = linear(c.width, c.vocabulary, execution, rngs, nnx.initializers.zeros, use_bias=False)

    def __call__(
        self, reference: Int[Array, "C N"], seen: Seen, tokens: Int[Array, "C T N"]
    ) -> Float[Array, "C T N V"]:
        """Logits of every token of every frame, given the ones before it in its own frame."""
        C, T, N = tokens.shape
        shown, seen = _numbered(seen, self.config.units)
        conditions = self.condition(reference, seen, self.unit_table(shown))
        not_later = jnp.asarray(np.tril(np.ones((N, N), bool)))
        rope = jnp.asarray(self.frame_rope())

        def apply(x, layer):
            block, units, prefix = layer
            q, own = block.project(x, rope)
            q, *own = (part.reshape(C, T, *part.shape[1:]) for part in (q, *own))
            heard = attend_frames(q, units, prefix, KeysValues(*own), seen.there, not_later)
            return block.finish(x, heard.reshape(C * T, *heard.shape[2:])), None

        x = self.embed_frames(tokens).reshape(C * T, N, -1)
        x, _ = jax.lax.scan(apply, x, (self.blocks, conditions.units, conditions.prefix))
        return self.head(self.norm(x)).astype(jnp.float32).reshape(C, T, N, -1)

    def unit_table(self, ids: Int[Array, " I"] | None = None) -> KeysValues:
        """Keys and values of every unit, [L, units, H, K]: units see only themselves, so once per model.

        With `ids` those of these units alone, [L, I, H, K].
        """
        rope = unturned(1, self.config.head_dim)
        rope = jnp.asarray(rope * (0 if self.config.zero_condition else 1))

        def apply(x, block):
            _, seen = block.project(x, rope)
            return block.finish(x, seen.values), seen

        units = self.units[...] if ids is None else self.units[...][ids]
        x = units + self.segments[...][OF_UNITS][None]
        _, seen = jax.lax.scan(apply, x[:, None], self.blocks)
        return KeysValues(seen.keys[:, :, 0], seen.values[:, :, 0])

    def condition(self, reference: Int[Array, "C N"], seen: Seen, table: KeysValues) -> Conditions:
        """What does not change from token to token; `table` is the model's `unit_table`."""
        units = KeysValues(*(part[:, seen.ids] for part in table))
        return Conditions(units, self.prefix(reference), seen)

    def prefix(self, reference: Int[Array, "C N"]) -> KeysValues:
        """Keys and values of B and of the reference, [L, C, 1 + N, H, K]: once per portrait."""
        c, (clips, length) = self.config, reference.shape
        rope = jnp.asarray(np.concatenate([unturned(1, c.head_dim), rope_table(*c.tokens, c.head_dim)], axis=1))
        causal = jnp.asarray(np.tril(np.ones((1 + length, 1 + length), bool)))

        def apply(x, block):
            q, seen = block.project(x, rope)
            return block.finish(x, attend(q, seen, causal)), seen

        tokens = self.tokens[...][reference] + self.places[...][None]
        start = jnp.broadcast_to(self.start[...][None], (clips, 1, c.width))
        x = jnp.concatenate([start, tokens], axis=1) + self.segments[...][OF_REFERENCE][None, None]
        return jax.lax.scan(apply, x, self.blocks)[1]

    # ---- frames

    def embed_frames(self, tokens: Int[Array, "C T N"]) -> Float[Array, "C T N D"]:
        """What goes in at the slots of frames: at slot n token n - 1, and the place of token n, which is told there."""
        before = self.tokens[...][tokens[:, :, :-1]]
        start = jnp.broadcast_to(self.start[...][None, None], (*tokens.shape[:2], 1, before.shape[-1]))
        x = jnp.concatenate([start, before], axis=2)
        return x + self.places[...][None, None] + self.segments[...][OF_FRAMES][None, None, None]

    def frame_rope(self) -> Float[np.ndarray, "2 N pairs"]:
        """The turns at the slots of frames: that of the token that goes in."""
        c = self.config
        return np.concatenate([unturned(1, c.head_dim), rope_table(*c.tokens, c.head_dim)[:, :-1]], axis=1)

    def empty_cache(self, clips: int, frames: int) -> KeysValues:
        """Keys and values of frames' own tokens before the first one, [L, C, T, N, H, K]."""
        c = self.config
        shape = (c.layers, clips, frames, c.length, c.heads, c.head_dim)
        return KeysValues(*(jnp.zeros(shape, self.blocks.query_key_value.dtype) for _ in range(2)))

    def step(
        self, slot: Int[Array, ""], before: Int[Array, "C T"], cache: KeysValues, conditions: Conditions
    ) -> tuple[Float[Array, "C T V"], KeysValues]:
        """Logits of token `slot`, given the token before it (whichever at slot 0) and the cache of those before."""
        C, T = before.shape
        x = jnp.where(slot == 0, self.start[...], self.tokens[...][before.reshape(-1)])
        x = (x + self.places[...][slot][None] + self.segments[...][OF_FRAMES][None])[:, None]
        rope = jax.lax.dynamic_slice_in_dim(jnp.asarray(self.frame_rope()), slot, 1, axis=1)
        not_later = (jnp.arange(self.config.length) <= slot)[None]

        def apply(x, layer):
            block, units, prefix, own = layer
            q, new = block.project(x, rope)
            q, *new = (part.reshape(C, T, *part.shape[1:]) for part in (q, *new))
            write = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=slot, axis=2)
            own = KeysValues(*map(write, own, new))
            heard = attend_frames(q, units, prefix, own, conditions.seen.there, not_later)
            return block.finish(x, heard.reshape(C * T, *heard.shape[2:])), own

        x, cache = jax.lax.scan(apply, x, (self.blocks, conditions.units, conditions.prefix, cache))
        return self.head(self.norm(x[:, 0])).astype(jnp.float32).reshape(C, T, -1), cache


def _numbered(seen: Seen, units: int) -> tuple[Int[Array, " I"], Seen]:
    """The ids that are seen, each once, and the same with their numbers among these: there are thousands of words."""
    ids, numbers = jnp.unique(seen.ids, return_inverse=True, size=min(seen.ids.size, units), fill_value=0)
    return ids, Seen(numbers.reshape(seen.ids.shape), seen.there)
