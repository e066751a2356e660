"""The one seam between the models and attention kernels.

B batch, L queries, S keys, N heads, K head dim.
"""

import functools
import math
import re
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from actavatar_jax.models.blocked_attention import blocked_attention
from actavatar_jax.models.execution import Execution
from actavatar_jax.parallel import BATCH, SEQ, constrain, per_device, tokens_to_heads

SAVED = "attention"  # name of what some remat policies keep of attention
FUSED = ("blocked", "cudnn", "splash")  # forms that take no bias
LANES = 128  # of a TPU's vectors; blocks of splash attention are multiples of it
CHUNK = 512  # queries whose scores are held at once by the chunked form
SMALL = 4 * 2**20  # bytes of scores up to which holding all of them is fastest on a CPU


def attention(
    q: Float[Array, "B L N K"],
    k: Float[Array, "B S N K"],
    v: Float[Array, "B S N K"],
    execution: Execution,
    *,
    bias: Float[Array, "B #N L S"] | None = None,
    cut: Literal["heads", "queries"] = "queries",
    keep: bool = False,
) -> Float[Array, "B L N K"]:
    """`softmax(q k^T / sqrt(K) + bias) v` with the softmax in float32.

    On a mesh, queries and result are cut by tokens over `seq`. Every device computes its own queries against all
    keys, which suits few keys that are whole everywhere, or, with `cut="heads"`, its own heads of all queries and
    keys: for keys that are cut like the queries.

    Forms, of `execution.attention`: `xla` holds all scores; `chunked` holds those of 512 queries at a time, forwards
    and backwards, and serves any platform at any length; `blocked` (CPUs) holds those of one head and 440 keys;
    `cudnn` (NVIDIA from Ampere on, bf16) and `splash` (TPU) are fused kernels. These three take no bias: a call with
    one (text cross-attention with a window bias) uses `chunked` instead. `auto` is what `choose_form` says.

    With `keep`, what the backward pass needs beside the inputs is named `SAVED`, for the remat policies that keep it.
    """
    if cut == "heads":
        q, k, v = tokens_to_heads(q, k, v)
        axes = [(BATCH, None, SEQ)] * 3 + [(BATCH, SEQ), (BATCH, None, SEQ)]
    else:
        axes = [(BATCH, SEQ), (BATCH,), (BATCH,), (BATCH, None, SEQ), (BATCH, SEQ)]
    on_device = functools.partial(_attention, execution=execution, keep=keep)
    return constrain(per_device(on_device, q, k, v, bias, axes=axes), BATCH, SEQ)


def choose_form(execution: Execution, scores: tuple[int, int, int, int], head_dim: int, biased: bool = False) -> str:
    """The form that computes `scores` [B, N, L, S] of one device: the one asked for, or the best of the platform.

    `auto` is the platform's fused kernel where that takes the call, else `chunked`; on a CPU it is `blocked`, and `xla`
    for few scores.
    """
    form = execution.attention
    if form == "auto":
        platform = execution.platform or jax.default_backend()
        if platform == "tpu" and head_dim % 128 == 0:
            form = "splash"
        elif platform in ("gpu", "cuda") and _cudnn_takes(execution, head_dim):
            form = "cudnn"
        elif platform == "cpu":
            form = "xla" if 4 * math.prod(scores) <= SMALL else "blocked"
        else:
            form = "chunked"
    return "chunked" if biased and form in FUSED else form


def self_attention_form(
    execution: Execution, heads: int, head_dim: int, *, samples: int, tokens: int, mesh: Mapping[str, int] | None = None
) -> str:
    """The form in which a batch of `samples` with `tokens` each attend to themselves, on each device of a mesh."""
    axes = dict.fromkeys((*BATCH, SEQ), 1) | dict(mesh or {})
    rows = -(-samples // math.prod(axes[name] for name in BATCH))
    return choose_form(execution, (rows, heads // axes[SEQ], tokens, tokens), head_dim)


def _cudnn_takes(execution: Execution, head_dim: int) -> bool:
    if execution.platform is None:  # the GPU that is here; those planned for are all young enough
        capability = str(getattr(jax.local_devices()[0], "compute_capability", "8.0"))
        if not re.fullmatch(r"\d+\.\d+", capability) or float(capability) < 8:  # gfx90a and the like are AMD's
            return False
    return execution.dtype == "bfloat16" and head_dim % 8 == 0 and head_dim <= 128


def _attention(q: Array, k: Array, v: Array, bias: Array | None, *, execution: Execution, keep: bool) -> Array:
    """Of what lies on one device."""
    scores = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    form = choose_form(execution, scores, q.shape[-1], bias is not None)
    with jax.default_matmul_precision(execution.precision):
        if form == "splash":
            return _splash(q, k, v, execution.splash_blocks, keep)
        if form in ("cudnn", "blocked"):
            kernel = _cudnn if form == "cudnn" else blocked_attention
            return _keeping(kernel)(q, k, v) if keep else kernel(q, k, v)
        out = _chunked(q, k, v, bias) if form == "chunked" else jax.nn.dot_product_attention(q, k, v, bias)
        return checkpoint_name(out, SAVED) if keep else out


def _cudnn(q: Array, k: Array, v: Array) -> Array:
    return jax.nn.dot_product_attention(q, k, v, implementation="cudnn")


def _keeping(kernel: Callable[..., Array]) -> Callable[..., Array]:
    """The kernel with everything named `SAVED` that its backward pass reads, but for its inputs.

    A name on the result alone would save nothing: the softmax's statistics live inside the kernel's own rule, and to
    have them again the whole kernel would run again.
    """

    @jax.custom_vjp
    def kept(*inputs: Array) -> Array:
        return kernel(*inputs)

    def forwards(*inputs: Array) -> tuple[Array, Callable]:
        out, pull_back = jax.vjp(kernel, *inputs)
        named = checkpoint_name(out, SAVED)

        def name(leaf: Array) -> Array:
            if any(leaf is one for one in inputs):
                return leaf
            return named if leaf is out else checkpoint_name(leaf, SAVED)

        return named, jax.tree.map(name, pull_back)

    kept.defvjp(forwards, lambda pull_back, gradient: pull_back(gradient))
    return kept


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


def _splash(q: Array, k: Array, v: Array, blocks: tuple[int, int, int], keep: bool) -> Array:
    """TPU splash attention; lengths are padded to whole blocks and the tail is masked by segment ids."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    heads, lengths = q.shape[2], (q.shape[1], k.shape[1])
    queries, keys, together = blocks
    queries, keys = min(queries, lengths[0] + -lengths[0] % LANES), min(keys, lengths[1] + -lengths[1] % LANES)
    together = together if keys % together == 0 else LANES

    def pad(x: Array, block: int) -> Array:
        return jnp.pad(x, ((0, 0), (0, -x.shape[1] % block), (0, 0), (0, 0))).transpose(0, 2, 1, 3)

    q, k, v = pad(q / math.sqrt(q.shape[-1]), queries), pad(k, keys), pad(v, keys)
    mask = splash_attention_mask.MultiHeadMask(
        [splash_attention_mask.FullMask((q.shape[2], k.shape[2])) for _ in range(heads)]
    )
    sizes = splash_attention_kernel.BlockSizes(
        block_q=queries, block_kv=keys, block_kv_compute=together, block_q_dkv=queries, block_kv_dkv=keys,
        block_kv_dkv_compute=together, block_q_dq=queries, block_kv_dq=keys,
    )  # fmt: skip
    kernel = splash_attention_kernel.make_splash_mha(
        mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, residual_checkpoint_name=SAVED if keep else None
    )
    segments = splash_attention_kernel.SegmentIds(
        q=(jnp.arange(q.shape[2]) < lengths[0]).astype(jnp.int32),
        kv=(jnp.arange(k.shape[2]) < lengths[1]).astype(jnp.int32),
    )
    out = jax.vmap(lambda q, k, v: kernel(q, k, v, segment_ids=segments))(q, k, v)
    return out.transpose(0, 2, 1, 3)[:, : lengths[0]]
