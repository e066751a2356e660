"""NNX modules as pure functions of plain parameter dicts.

Modules give the architecture and the parameter names; everywhere else parameters are nested dicts of arrays, so
that partitioning, sharding, checkpoints and `jax.jit` see ordinary pytrees. Names are joined by `/`.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

from actavatar_jax.functional import kernels

Params = dict[str, Any]

# Compiler options for programs that run once, such as drawing initial values: compiling them well takes ten times
# as long as running them.
RUN_ONCE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def init(module_class: type, config: Any, key: jax.Array) -> Params:
    """Draws the parameters of `module_class(config)`; jit it to draw them sharded."""
    module = module_class(config, rngs=nnx.Rngs(key))
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


@functools.cache
def _abstract(module_class: type, *settings: Any) -> tuple[Any, Params]:
    module = nnx.eval_shape(lambda: module_class(*settings, rngs=nnx.Rngs(0)))
    graphdef, params, rest = nnx.split(module, nnx.Param, ...)
    if jax.tree.leaves(rest):
        raise TypeError(f"{module_class.__name__} holds state other than parameters: {rest}")
    return graphdef, nnx.to_pure_dict(params)


def abstract(module_class: type, config: Any) -> Params:
    """The parameter dict of `module_class(config)` as `jax.ShapeDtypeStruct`s; nothing is allocated."""
    return jax.tree.map(lambda leaf: leaf, _abstract(module_class, config)[1])


def bind(module_class: type, config: Any, params: Params, execution: Any = None) -> Any:
    """The module `module_class(config, execution)` holding `params`; cheap, and allowed inside `jax.jit`.

    Without `execution` (a `models.execution.Execution`) the network computes as it does by itself, in float32.
    """
    settings = (config,) if execution is None else (config, execution)
    return nnx.merge(_abstract(module_class, *settings)[0], kernels.fold(params))


@dataclasses.dataclass(frozen=True)
class Network:
    """What a network is and how it computes, without its parameters: what compiled programs are told apart by."""

    module: type
    config: Any
    execution: Any = None

    def bind(self, params: Params) -> Any:
        """The module holding `params`."""
        return bind(self.module, self.config, params, self.execution)


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dict -> `{"blocks/self_attn/query/kernel": leaf}`."""
    return traverse_util.flatten_dict(params, sep="/")


def unflatten(flat: Mapping[str, Any]) -> Params:
    """Inverse of `flatten`."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def split(flat: Mapping[str, Any], pattern: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(leaves whose whole name matches the regex, the others) of a flat dict."""
    match = {name: leaf for name, leaf in flat.items() if re.fullmatch(pattern, name)}
    return match, {name: leaf for name, leaf in flat.items() if name not in match}


def count(params: Mapping[str, Any]) -> int:
    """Number of scalars in a parameter dict, allocated or abstract."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def digest(params: Mapping[str, Any]) -> str:
    """Of the names, types and values in a parameter dict: two with the same hold the same."""
    found = hashlib.sha256()
    for name, leaf in sorted(flatten(params).items()):
        array = np.ascontiguousarray(leaf)
        found.update(f"{name} {array.dtype} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8))
    return found.hexdigest()[:32]


def cast(params: Params, dtype: Any) -> Params:
    """All floating-point leaves in `dtype`."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, params)
