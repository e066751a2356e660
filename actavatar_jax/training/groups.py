"""Training stages: which parameters learn and how fast, as an ordered list of rules over their names.

A rule is `(regex, multiplier)`: parameters whose whole '/' name matches learn at `multiplier` times the common
learning rate, or are frozen where it is None. The first matching rule decides. Freezing is a partition of the
parameter dict: a frozen parameter has no gradient, no Adam moments and no update.
"""

from collections.abc import Mapping, Sequence

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Params
from actavatar_jax.parallel.ordered import first_match

Rule = tuple[str, float | None]


def multipliers(params: Mapping, rules: Sequence[Rule]) -> dict[str, float | None]:
    """`{name: multiplier}` for every parameter of a nested dict.

    Raises InputError, with every problem in it, for a parameter that no rule covers, a rule that decides about no
    parameter (most likely a misspelt name), a multiplier that is not positive, and for nothing left to train.
    """
    names = list(functional.flatten(params))
    deciding = {name: first_match(name, rules) for name in names}
    decisive = {index for index in deciding.values() if index is not None}
    problems = [f"no rule covers {name}" for name, index in deciding.items() if index is None]
    problems += [f'rule "{rules[i][0]}" decides about no parameter' for i in range(len(rules)) if i not in decisive]
    problems += [
        f'rule "{regex}" has multiplier {value}, which must be positive, or None to freeze'
        for regex, value in rules
        if value is not None and not value > 0
    ]
    if not problems and all(rules[index][1] is None for index in decisive):
        problems = ["they freeze every parameter"]
    if problems:
        raise InputError("The training rules do not fit the model: " + "; ".join(problems) + ".")
    return {name: rules[index][1] for name, index in deciding.items()}


def partition(params: Params, rules: Sequence[Rule]) -> tuple[Params, Params]:
    """(trained, frozen) halves of a nested parameter dict, both nested; `merge` undoes it. Raises as `multipliers`."""
    speed, flat = multipliers(params, rules), functional.flatten(params)
    trained = {name: leaf for name, leaf in flat.items() if speed[name] is not None}
    frozen = {name: leaf for name, leaf in flat.items() if speed[name] is None}
    return functional.unflatten(trained), functional.unflatten(frozen)


def merge(trained: Params, frozen: Params) -> Params:
    """The whole parameter dict from its two halves."""
    return functional.unflatten({**functional.flatten(trained), **functional.flatten(frozen)})
