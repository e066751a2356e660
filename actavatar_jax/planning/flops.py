"""FLOPs of any traced program, for those that `models.flops` has no formula of."""

import math

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxprs_in_params


def program_flops(jaxpr: ClosedJaxpr) -> int:
    """FLOPs of its matrix products and convolutions, a multiply-add as two, with those of loops at every turn.

    What fused kernels compute does not count. `jaxpr` is that of `jax.jit(...).trace(...)`.
    """
    return _flops(jaxpr.jaxpr)


def _flops(jaxpr: Jaxpr) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        turns = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        total += _own(eqn) + turns * sum(map(_flops, jaxprs_in_params(eqn.params)))
    return total


def _own(eqn: JaxprEqn) -> int:
    out = eqn.outvars[0].aval.size if eqn.outvars else 0
    match eqn.primitive.name:
        case "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            return 2 * out * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
        case "conv_general_dilated":
            kernel, features = eqn.invars[1].aval, eqn.params["dimension_numbers"].rhs_spec[0]
            return 2 * out * kernel.size // kernel.shape[features]
    return 0
