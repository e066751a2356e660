"""The parameters of a part as `folder.load` gives them, in shapes and types alone: nothing is read."""

import functools
import re
from typing import Any

import jax
import jax.numpy as jnp

from actavatar_jax import functional
from actavatar_jax.functional import Params
from actavatar_jax.weights import quantized
from actavatar_jax.weights.components import Loadable


def param_shapes(kind: Loadable, config: Any, dtype: str, quantize: str | None = None) -> Params:
    """Nested dict of `jax.ShapeDtypeStruct`s, a `kernels.Quantized` of two where a kernel is quantized.

    Raises InputError for what cannot be quantized so.
    """
    abstract = functional.abstract(kind.module, config)
    rules, flat = quantized.forms_of(kind, quantize), functional.flatten(abstract)
    quantized.check_forms(abstract, rules)
    forms = rules.values(flat)

    def shape(name: str, leaf: jax.ShapeDtypeStruct) -> Any:
        read = jax.ShapeDtypeStruct(leaf.shape, jnp.float32 if re.fullmatch(kind.float32, name) else jnp.dtype(dtype))
        if form := forms.get(name):
            return jax.eval_shape(functools.partial(quantized.quantize_kernel, form=form), read)
        return read

    return functional.unflatten({name: shape(name, leaf) for name, leaf in flat.items()})


def count_bytes(params: Params) -> int:
    """Bytes of a tree of arrays or of their shapes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(params))
