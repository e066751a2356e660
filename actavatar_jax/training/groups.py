"""Training stages: which parameters learn and how fast, as `ParameterGroups` whose values are rates.

A parameter learns at its value times the common learning rate, or is frozen where that is None. Freezing is a partition
of the parameter dict: a frozen parameter has no gradient, no Adam moments and no update.
"""

import re
from collections.abc import Mapping

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.models import ADAPTER
from actavatar_jax.parallel import ParameterGroups

Rates = ParameterGroups[float | None]


def multipliers(params: Mapping, rates: Rates) -> dict[str, float | None]:
    """`{name: multiplier}` for every parameter of a nested dict.

    Raises InputError, with every problem in it, for a parameter that no rule covers, a rule that decides about no
    parameter (most likely a misspelt name), a multiplier that is not positive, and for nothing left to train.
    """
    names = functional.flatten(params)
    speeds = rates.values(names)
    problems = [f"no rule covers {name}" for name in rates.uncovered(names)]
    problems += [f'rule "{regex}" decides about no parameter' for regex in rates.idle(names)]
    problems += [
        f'rule "{regex}" has multiplier {value}, which must be positive, or None to freeze'
        for regex, value in rates.rules
        if value is not None and not (isinstance(value, int | float) and value > 0)
    ]
    if not problems and set(speeds.values()) == {None}:
        problems = ["they freeze every parameter"]
    if problems:
        raise InputError("The training rules do not fit the model: " + "; ".join(problems) + ".")
    return speeds


def backbone_is_frozen(speeds: Mapping[str, float | None]) -> bool:
    """Whether no gradients are computed of the backbone's weights, by the first of its large ones."""
    return speeds["blocks/self_attn/query/kernel"] is None


def trains_adapter_alone(params: Params, rates: Rates) -> bool:
    """Whether nothing but the audio adapter learns, as in stage 1."""
    return all(re.fullmatch(ADAPTER, name) for name, speed in multipliers(params, rates).items() if speed is not None)


def partition(params: Params, rates: Rates) -> tuple[Params, Params]:
    """(trained, frozen) halves of a nested parameter dict, both nested; `merge` undoes it. Raises as `multipliers`."""
    speed, flat = multipliers(params, rates), functional.flatten(params)
    trained = {name: leaf for name, leaf in flat.items() if speed[name] is not None}
    frozen = {name: leaf for name, leaf in flat.items() if speed[name] is None}
    return functional.unflatten(trained), functional.unflatten(frozen)


def merge(trained: Params, frozen: Params) -> Params:
    """The whole parameter dict from its two halves."""
    return functional.unflatten({**functional.flatten(trained), **functional.flatten(frozen)})
