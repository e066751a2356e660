"""Checks of values that people give: their type and what is accepted of it, told in one sentence."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, NamedTuple

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown


class Limit(NamedTuple):
    """What is accepted of values of the right type: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Limit("a number above 0", lambda x: 0 < x < math.inf)
NOT_NEGATIVE = Limit("a number from 0 on", lambda x: 0 <= x < math.inf)
SHARE = Limit("a number from 0 to 1", lambda x: 0 <= x <= 1)
DECAY = Limit("a number from 0 to below 1", lambda x: 0 <= x < 1)
COUNT = Limit("a whole number above 0", lambda x: x > 0)
WHOLE = Limit("a whole number from 0 on", lambda x: x >= 0)


def whole(low: int, high: int) -> Limit:
    """A whole number of a range, both ends included."""
    return Limit(f"a whole number from {low} to {high}", lambda x: low <= x <= high)


def each(limit: Limit, most: int) -> Limit:
    """A list of one to `most` values that are each within a limit."""
    return Limit(f"1 to {most} times {limit.words}", lambda x: 0 < len(x) <= most and all(map(limit.holds, x)))


def one_of(*values: object) -> Limit:
    """One of these words or numbers."""
    return Limit(" or ".join(map(str, values)), lambda x: x in values)


def check_fields(settings: Any, kind: str, **limits: Limit) -> None:
    """Gives the fields of a frozen dataclass the form of their annotations, from its `__post_init__`.

    InputError for the first one of another type or beyond its limit; `kind` goes before its name, as "sampling option "
    does. Put `typing.no_type_check` on the dataclass: a type checker would speak first.
    """
    for field in dataclasses.fields(settings):
        value = checked(f"{kind}{field.name}", getattr(settings, field.name), field.type, limits.get(field.name))
        object.__setattr__(settings, field.name, value)


def checked(name: str, value: Any, kind: Any, limit: Limit | None = None) -> Any:
    """As `typed`, and InputError for a value beyond its limit."""
    value = typed(name, value, kind)
    if limit and not limit.holds(value):
        raise InputError(f"The {name} is {shown(value)}; accepted is {limit.words}.")
    return value


_WORDS = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
    dict: (dict, "an object"),
}


def typed(name: str, value: Any, kind: Any) -> Any:
    """`value` in the form that an annotation asks for, or InputError under `name`.

    Forms are bool, int, float, str, dict and other classes, tuples of one of them (lists will do), and each `| None`.
    """
    form, parts = typing.get_origin(kind), typing.get_args(kind)
    if form is types.UnionType:
        return None if value is None else typed(name, value, parts[0])
    if form is tuple:
        length = None if parts[-1] is ... else len(parts)
        if not isinstance(value, list | tuple) or length not in (None, len(value)):
            words = f"a list{f' of {length}' if length else ''}"
            raise InputError(f"The {name} is {shown(value)}; accepted is {words}.")
        return tuple(typed(name, item, parts[0]) for item in value)
    accepted, words = _WORDS.get(kind, (kind, f"a {kind.__name__}"))
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"The {name} is {shown(value)}; accepted is {words}.")
    try:
        return kind(value) if kind in (int, float) else value
    except OverflowError:  # a whole number of hundreds of digits
        raise InputError(f"The {name} is {shown(value)}; accepted is {words} of a size that can be.") from None
