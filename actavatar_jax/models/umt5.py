"""UMT5Encoder: the text encoder of Wan, an encoder-only T5 whose layers each have their own relative position table.

B batch, S tokens, D width, N heads, K head dim, F feed-forward.
Sources: Wan-Video/Wan2.2 wan/modules/t5.py; T5 (arXiv 1910.10683) for the buckets, UniMax (arXiv 2304.09151).
"""

import dataclasses
import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from actavatar_jax.checks import Limit, check_fields, whole
from actavatar_jax.models.execution import Execution
from actavatar_jax.models.layers import Linear, rms_norm
from actavatar_jax.models.limits import DEPTH, EPSILON, SIZE, VOCABULARY


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class UMT5Config:
    """Defaults are the encoder of umT5-XXL."""

    vocab_size: int = 256384
    width: int = 4096
    heads: int = 64
    head_dim: int = 64
    ffn: int = 10240
    layers: int = 24
    buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        **dict.fromkeys(("width", "heads", "head_dim", "ffn"), SIZE),
        "vocab_size": VOCABULARY,
        "layers": DEPTH,
        "buckets": whole(2, 256),
        "max_distance": whole(1, 8192),
        "eps": EPSILON,
    }

    def __post_init__(self):
        check_fields(self, "text encoder's ", **self.LIMITS)


class UMT5Encoder(nnx.Module):
    """Token ids -> features after the final norm."""

    def __init__(self, config: UMT5Config, execution: Execution = Execution(), *, rngs: nnx.Rngs):  # noqa: B008 - frozen
        c = self.config = config
        self.dtype = execution.dtype
        self.token_embedding = nnx.Embed(c.vocab_size, c.width, embedding_init=nnx.initializers.normal(1.0), rngs=rngs)
        self.layers = nnx.vmap(lambda r: Layer(c, execution, rngs=r))(rngs.split(c.layers))
        self.norm = rms_norm(c.width, epsilon=c.eps, rngs=rngs)

    def __call__(self, ids: Int[Array, "B S"], mask: Bool[Array, "B S"]) -> Float[Array, "B S D"]:
        """Float32 features; rows where `mask` is False mean nothing and do not influence the others."""
        x = self.token_embedding(ids).astype(self.dtype)
        buckets = position_buckets(ids.shape[1], self.config.buckets, self.config.max_distance)

        def body(x, layer):
            return layer(x, jnp.asarray(buckets), mask), None

        x, _ = jax.lax.scan(body, x, self.layers)
        return self.norm(x)


class Layer(nnx.Module):
    """Pre-norm self-attention, then pre-norm feed-forward."""

    def __init__(self, config: UMT5Config, execution: Execution, *, rngs: nnx.Rngs):
        self.attn_norm = rms_norm(config.width, epsilon=config.eps, rngs=rngs)
        self.self_attn = SelfAttention(config, execution, rngs=rngs)
        self.ffn_norm = rms_norm(config.width, epsilon=config.eps, rngs=rngs)
        self.ffn = GatedFeedForward(config, execution, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B S D"], buckets: Int[Array, "S S"], mask: Bool[Array, "B S"]
    ) -> Float[Array, "B S D"]:
        x = x + self.self_attn(self.attn_norm(x), buckets, mask)
        return x + self.ffn(self.ffn_norm(x))


class SelfAttention(nnx.Module):
    """Attention without 1/sqrt(K): T5 folds that factor into the initial query weights."""

    def __init__(self, config: UMT5Config, execution: Execution, *, rngs: nnx.Rngs):
        c, inner = config, config.heads * config.head_dim
        self.query = _linear(c.width, inner, execution, rngs, gain=c.head_dim**-0.5)
        self.key = _linear(c.width, inner, execution, rngs)
        self.value = _linear(c.width, inner, execution, rngs)
        self.out = _linear(inner, c.width, execution, rngs)
        init = nnx.initializers.normal(c.width**-0.5)
        self.position_bias = nnx.Embed(c.buckets, c.heads, embedding_init=init, rngs=rngs)
        self.heads = c.heads

    def __call__(
        self, x: Float[Array, "B S D"], buckets: Int[Array, "S S"], mask: Bool[Array, "B S"]
    ) -> Float[Array, "B S D"]:
        q, k, v = (self._heads(project(x)) for project in (self.query, self.key, self.value))
        scores = jnp.einsum("BLNK,BSNK->BNLS", q, k, preferred_element_type=jnp.float32)
        scores += self.position_bias(buckets).astype(jnp.float32).transpose(2, 0, 1)[None]
        scores = jnp.where(mask[:, None, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return self.out(jnp.einsum("BNLS,BSNK->BLNK", weights, v).reshape(*x.shape[:2], -1))

    def _heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:2], self.heads, -1)


class GatedFeedForward(nnx.Module):
    """`down(gelu_tanh(gate x) * up x)`."""

    def __init__(self, config: UMT5Config, execution: Execution, *, rngs: nnx.Rngs):
        self.gate = _linear(config.width, config.ffn, execution, rngs)
        self.up = _linear(config.width, config.ffn, execution, rngs)
        self.down = _linear(config.ffn, config.width, execution, rngs)

    def __call__(self, x: Float[Array, "B S D"]) -> Float[Array, "B S D"]:
        return self.down(nnx.gelu(self.gate(x), approximate=True) * self.up(x))


def position_buckets(length: int, buckets: int, max_distance: int) -> Int[np.ndarray, "S S"]:
    """Row of the position table for every (query i, key j): half the rows are for keys behind, half for keys ahead.

    Within a half, distances below a quarter of `buckets` have a row each; longer ones share rows whose edges grow
    geometrically up to `max_distance`. The edges are found in integers: at powers of two the logarithm of the usual
    formula is a whole number, and one that is a little low would fall into the row before.
    """
    half, exact = buckets // 2, buckets // 4
    wide = half - exact
    edges = [
        next(n for n in itertools.count(exact) if n**wide * exact**row >= max_distance**row * exact**wide)
        for row in range(1, wide)
    ]
    offset = np.arange(length)[None, :] - np.arange(length)[:, None]
    distance = np.abs(offset)
    row = np.where(distance < exact, distance, exact + np.searchsorted(edges, distance, side="right"))
    return (row + np.where(offset > 0, half, 0)).astype(np.int32)


def _linear(inputs: int, outputs: int, execution: Execution, rngs: nnx.Rngs, gain: float = 1.0) -> Linear:
    init = nnx.initializers.normal(gain * inputs**-0.5)
    return Linear(inputs, outputs, use_bias=False, kernel_init=init, rngs=rngs, **execution.products)
