"""The one seam between the models and attention kernels.

B batch, L queries, S keys, N heads, K head dim.
"""

import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from actavatar_jax.parallel.layout import BATCH, SEQ, constrain, per_device, tokens_to_heads

BACKENDS = ("xla", "chunked", "cudnn", "splash")
SAVED = "attention"  # name of attention outputs, which some remat policies keep
CHUNK = 512  # queries whose scores are held at once by the chunked form


def attention(
    q: Float[Array, "B L N K"],
    k: Float[Array, "B S N K"],
    v: Float[Array, "B S N K"],
    *,
    bias: Float[Array, "B #N L S"] | None = None,
    backend: str = "xla",
    cut: Literal["heads", "queries"] = "queries",
) -> Float[Array, "B L N K"]:
    """`softmax(q k^T / sqrt(K) + bias) v` with the softmax in float32.

    On a mesh, queries and result are cut by tokens over `seq`. Every device computes its own queries against all
    keys, which suits few keys that are whole everywhere, or, with `cut="heads"`, its own heads of all queries and
    keys: for keys that are cut like the queries.

    Backends: `xla` holds all scores; `chunked` holds those of 512 queries at a time, forwards and backwards, and
    serves any platform at any length; `cudnn` (NVIDIA, bf16 or fp16) and `splash` (TPU) are fused kernels. These two
    take no bias: a call with one (text cross-attention with a window bias) uses `chunked` instead.
    """
    if backend not in BACKENDS:
        raise ValueError(f"attention backend {backend!r} is not one of {', '.join(BACKENDS)}")
    if cut == "heads":
        q, k, v = tokens_to_heads(q, k, v)
        axes = [(BATCH, None, SEQ)] * 3 + [(BATCH, SEQ), (BATCH, None, SEQ)]
    else:
        axes = [(BATCH, SEQ), (BATCH,), (BATCH,), (BATCH, None, SEQ), (BATCH, SEQ)]
    out = per_device(functools.partial(_attention, backend=backend), q, k, v, bias, axes=axes)
    out = constrain(out, BATCH, SEQ)
    # Splash names its result itself, together with what else its backward pass reads.
    return out if backend == "splash" and bias is None else checkpoint_name(out, SAVED)


def _attention(q: Array, k: Array, v: Array, bias: Array | None, *, backend: str) -> Array:
    """Of what lies on one device."""
    if backend == "xla":
        return jax.nn.dot_product_attention(q, k, v, bias)
    if backend == "chunked" or bias is not None:
        return _chunked(q, k, v, bias)
    if backend == "cudnn":
        return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")
    return _splash(q, k, v)


def _chunked(q: Array, k: Array, v: Array, bias: Array | None) -> Array:
    """Exact softmax over all keys, one chunk of queries after another (Rabe and Staats 2021, without key chunks)."""
    length = q.shape[1]
    chunks = math.ceil(length / CHUNK)
    size = math.ceil(length / chunks)
    pad = chunks * size - length

    # [B, N, S, K]: heads are the batch of the two matrix products, so keys are re-laid once, not once per chunk.
    k, v = k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3)
    scale = 1 / math.sqrt(q.shape[-1])

    def split(x: Array, axis: int) -> Array:
        x = jnp.pad(x, [(0, pad if a == axis else 0) for a in range(x.ndim)])
        return jnp.moveaxis(x.reshape(*x.shape[:axis], chunks, size, *x.shape[axis + 1 :]), axis, 0)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one(chunk):
        scores = jnp.einsum("BLNK,BNSK->BNLS", chunk[0] * scale, k, preferred_element_type=jnp.float32)
        if bias is not None:
            scores += chunk[1]
        weights = jnp.exp(scores - scores.max(-1, keepdims=True))
        values = jnp.einsum("BNLS,BNSK->BNLK", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
        return (values / weights.sum(-1, keepdims=True)).astype(v.dtype)

    parts = (split(q, 1),) if bias is None else (split(q, 1), split(bias, 2))
    out = jax.lax.map(one, parts)  # [chunks, B, N, size, K]
    out = out.transpose(1, 0, 3, 2, 4).reshape(q.shape[0], chunks * size, *q.shape[2:])
    return out[:, :length]


def _splash(q: Array, k: Array, v: Array) -> Array:
    """TPU splash attention; lengths are padded to whole blocks and the tail is masked by segment ids."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    heads, block = q.shape[2], 512

    def pad(x: Array) -> Array:
        return jnp.pad(x, ((0, 0), (0, -x.shape[1] % block), (0, 0), (0, 0))).transpose(0, 2, 1, 3)

    lengths = (q.shape[1], k.shape[1])
    q, k, v = pad(q / math.sqrt(q.shape[-1])), pad(k), pad(v)
    mask = splash_attention_mask.MultiHeadMask(
        [splash_attention_mask.FullMask((q.shape[2], k.shape[2])) for _ in range(heads)]
    )
    sizes = splash_attention_kernel.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
        block_kv_dkv_compute=block, block_q_dq=block, block_kv_dq=block,
    )  # fmt: skip
    kernel = splash_attention_kernel.make_splash_mha(
        mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, residual_checkpoint_name=SAVED
    )
    segments = splash_attention_kernel.SegmentIds(
        q=(jnp.arange(q.shape[2]) < lengths[0]).astype(jnp.int32),
        kv=(jnp.arange(k.shape[2]) < lengths[1]).astype(jnp.int32),
    )
    out = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))(q, k, v)
    return out.transpose(0, 2, 1, 3)[:, : lengths[0]]
