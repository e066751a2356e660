"""Attention in blocks of keys, one head after the other: for CPUs, whose caches are smaller than the scores.

The softmax is taken as the blocks come (Milakov and Gimelshein, arXiv 1805.02867; Dao et al., arXiv 2205.14135), the
gradient computes every block of weights again from the kept logarithm of the softmax's sum.

B batch, N heads, L queries, S keys, K head dim.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

BLOCK = 440  # keys: with 7,040 queries 12 MB of scores; half and twice as many take as long


@jax.custom_vjp
def blocked_attention(
    q: Float[Array, "B L N K"], k: Float[Array, "B S N K"], v: Float[Array, "B S N K"]
) -> Float[Array, "B L N K"]:
    """`softmax(q k^T / sqrt(K)) v`, with everything but the products in float32."""
    return _forwards(q, k, v)[0]


def _forwards(q, k, v):
    def head(q, k, v):
        def add(sums, keys, values):
            most, total, out = sums
            scores = _product("qd,kd->qk", q, keys)
            new = jnp.maximum(most, scores.max(-1))
            weights, decay = jnp.exp(scores - new[:, None]), jnp.exp(most - new)
            out = decay[:, None] * out + _product("qk,kd->qd", weights.astype(values.dtype), values)
            return (new, decay * total + weights.sum(-1), out), None

        rows = jnp.zeros(len(q))
        (most, total, out), _ = _over_blocks(add, (rows - jnp.inf, rows, jnp.zeros(q.shape)), k, v)
        return out / total[:, None], most + jnp.log(total)

    scaled = q / math.sqrt(q.shape[-1])
    out, logs = _over_heads(head, scaled, k, v)
    out = out.astype(v.dtype)
    return out, (q, k, v, out, logs)


def _backwards(kept, gradient):
    q, k, v, out, logs = kept

    def head(q, k, v, out, gradient, log):
        shared = (gradient.astype(jnp.float32) * out.astype(jnp.float32)).sum(-1, keepdims=True)

        def add(of_q, keys, values):
            weights = jnp.exp(_product("qd,kd->qk", q, keys) - log[:, None])
            of_scores = weights * (_product("qd,kd->qk", gradient, values) - shared)
            of_scores, weights = of_scores.astype(q.dtype), weights.astype(q.dtype)
            of_q += _product("qk,kd->qd", of_scores, keys)
            return of_q, (_product("qk,qd->kd", of_scores, q), _product("qk,qd->kd", weights, gradient))

        of_q, (of_k, of_v) = _over_blocks(add, jnp.zeros(q.shape), k, v)
        return of_q, of_k, of_v

    scale = 1 / math.sqrt(q.shape[-1])
    of_q, of_k, of_v = _over_heads(head, q * scale, k, v, out, gradient, rows=(logs,))
    return (scale * of_q).astype(q.dtype), of_k.astype(k.dtype), of_v.astype(v.dtype)


blocked_attention.defvjp(_forwards, _backwards)


def _product(equation: str, a: Array, b: Array) -> Array:
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


def _over_heads(head: Callable, *arrays: Array, rows: tuple[Array, ...] = ()) -> tuple[Array, ...]:
    """`head` of [L, K] arrays and [L] `rows`, mapped over [B, L, N, K] and [B, N, L]; so are its results."""
    batch, _, heads, _ = arrays[0].shape
    apart = [x.transpose(0, 2, 1, 3).reshape(-1, x.shape[1], x.shape[3]) for x in arrays]
    apart += [x.reshape(-1, x.shape[2]) for x in rows]
    results = jax.lax.map(lambda one: head(*one), tuple(apart))
    together = [x.reshape(batch, heads, *x.shape[1:]) for x in results]
    return tuple(x.transpose(0, 2, 1, 3) if x.ndim == 4 else x for x in together)


def _over_blocks(step: Callable, carry, k: Array, v: Array):
    """A scan of `step(carry, keys, values)` over blocks of keys of one size, but for the last one."""
    size = math.ceil(len(k) / max(1, round(len(k) / BLOCK)))
    whole = len(k) // size * size

    def blocks(x):
        return x[:whole].reshape(-1, size, x.shape[1])

    carry, made = jax.lax.scan(lambda carry, block: step(carry, *block), carry, (blocks(k), blocks(v)))
    made = jax.tree.map(lambda x: x.reshape(-1, x.shape[-1]), made)
    if whole < len(k):
        carry, last = step(carry, k[whole:], v[whole:])
        made = jax.tree.map(lambda x, end: jnp.concatenate([x, end]), made, last)
    return carry, made
