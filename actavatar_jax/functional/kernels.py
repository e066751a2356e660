"""What a linear layer may hold in the place of its kernel: a quantized one, or one with a low-rank addition (LoRA).

A kernel is [in, out], and of stacked layers [layers, in, out]. Both forms are pytrees of such stacks: a scan over
layers hands each layer its own part, and what is unpacked for a product is one layer's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LOW_RANK = ("lora_a", "lora_b", "lora_scale")  # leaves beside the kernel that they are added to


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantized:
    """A kernel `values * scale`: a byte per weight and a number per output channel.

    values int8 or float8_e4m3fn [.., in, out], scale float32 [.., 1, out].
    """

    values: Any
    scale: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LowRank:
    """A kernel `kernel + scale * a @ b` (arXiv 2106.09685): a [.., in, rank], b [.., rank, out], scale [..]."""

    kernel: Any
    a: Any
    b: Any
    scale: Any


def multiply(x: Float[Array, "*rest I"], kernel: Any, precision: Any = None) -> Float[Array, "*rest O"]:
    """`x @ kernel` in the dtype of `x`, for a kernel of one layer in any form."""
    match kernel:
        case Quantized(values, scale):
            # The scale comes after the product: bfloat16 holds int8 and e4m3 exactly, but not what they scale to.
            product = multiply(x, values, precision).astype(jnp.float32)
            return (product * scale.reshape((1,) * (x.ndim - 1) + (-1,))).astype(x.dtype)
        case LowRank(base, a, b, scale):
            addition = multiply(multiply(x, a, precision), b, precision)
            return multiply(x, base, precision) + scale.astype(x.dtype) * addition
        case _:
            contracted = ((x.ndim - 1,), (0,)), ((), ())
            return jax.lax.dot_general(x, kernel.astype(x.dtype), contracted, precision=precision)


def fold(params: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dict in which every kernel that has `lora_a`, `lora_b` and `lora_scale` beside it is one `LowRank`."""
    folded = {name: fold(leaf) if isinstance(leaf, Mapping) else leaf for name, leaf in params.items()}
    if LOW_RANK[0] in folded:
        folded["kernel"] = LowRank(folded["kernel"], *(folded.pop(name) for name in LOW_RANK))
    return folded
