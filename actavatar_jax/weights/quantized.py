"""Weight-only quantization: kernels in one byte per weight, with one scale per output channel and layer.

Which kernels, and in which form, is told by ordered rules over parameter names. Products are still computed in the
model's own dtype (`kernels.multiply`): what shrinks is the memory that weights take, and the time to read them.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.parallel import ParameterGroups
from actavatar_jax.storage import refusal, shown
from actavatar_jax.weights.components import COMPONENTS, Loadable
from actavatar_jax.weights.names import NOTHING

# dtype of the values, and the largest of them that is used; the scale maps the largest weight of a channel to it.
FORMS = {"int8": (jnp.int8, 127.0), "fp8": (jnp.float8_e4m3fn, 448.0)}

Forms = ParameterGroups[str | None]  # None, and what no rule covers, stays as it is


def forms_of(kind: Loadable, wanted: str | Forms | None) -> Forms:
    """What a form alone means: the large kernels of that kind of network. InputError if it has none."""
    if not isinstance(wanted, str):
        return wanted or Forms(())
    check_form(wanted)
    if kind.matrices == NOTHING:
        parts = [name for name, kinds in COMPONENTS.items() if any(k.matrices != NOTHING for k in kinds)]
        raise InputError(f"A {kind.module.__name__} is not quantized; accepted are {' and '.join(parts)}.")
    return Forms(((kind.matrices, wanted),))


def check_form(form: str) -> None:
    """InputError for a form that there is none of."""
    if form not in FORMS:
        raise InputError(f"There is no form {shown(form)} of quantized weights; accepted are {' and '.join(FORMS)}.")


def quantize(params: Params, forms: Forms) -> Params:
    """Parameters, all in memory already, with the kernels that the rules choose quantized. Raises as `check_forms`."""
    check_forms(params, forms)
    flat = functional.flatten(params)
    return functional.unflatten({name: quantize_leaf(name, leaf, forms) for name, leaf in flat.items()})


def check_forms(params: Params, forms: Forms) -> None:
    """Raises InputError, with every problem in it, for a form that there is none of, for a rule that decides about
    nothing, and for one that quantizes something else than kernels of linear layers. Only names and shapes are read."""
    flat = functional.flatten(params)
    unknown = sorted({form for _, form in forms.rules} - {None, *FORMS})
    problems = [f'there is no form "{form}" (accepted are {" and ".join(FORMS)})' for form in unknown]
    problems += [f'rule "{regex}" decides about no parameter' for regex in forms.idle(flat)]
    problems += [
        f"{name} is no kernel of a linear layer"
        for name, form in forms.values(flat).items()
        if form and not (name.endswith("/kernel") and len(flat[name].shape) in (2, 3))
    ]
    if problems:
        raise refusal("The model cannot be quantized so:", problems)


def quantize_leaf(name: str, leaf: Any, forms: Forms) -> Any:
    """A leaf as the rules, which fit, want it. A quantized one is on the device: cut over a mesh as the leaf is, its
    scales whole."""
    form = forms.values([name]).get(name)
    if form is None:
        return leaf
    mesh = getattr(getattr(leaf, "sharding", None), "mesh", None)
    return _program(form, mesh and Quantized(leaf.sharding, NamedSharding(mesh, PartitionSpec())))(leaf)


@functools.cache
def _program(form: str, places: Quantized | None) -> Any:
    return jax.jit(functools.partial(quantize_kernel, form=form), out_shardings=places)


def quantize_kernel(kernel: Float[Array, "*layers I O"], form: str) -> Quantized:
    """Symmetric rounding to the nearest; a channel of zeros has scale 0."""
    dtype, largest = FORMS[form]
    kernel = kernel.astype(jnp.float32)
    scale = jnp.max(jnp.abs(kernel), axis=-2, keepdims=True) / largest
    values = kernel / jnp.where(scale > 0, scale, 1)
    return Quantized((jnp.round(values) if form == "int8" else values).astype(dtype), scale)
