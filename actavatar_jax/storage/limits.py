"""What every document has to keep to, whatever its syntax: JSON's types, and no more of anything than is of use."""

import re
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage.sentences import shown

DEEPEST = 64  # levels of lists and objects
LONGEST_NUMBER = 128  # bits: tokenizers of transformers have 10^30 for a length without end

_SURROGATE = re.compile("[\ud800-\udfff]")


class DoubleKeyError(Exception):
    """A key stands twice in one object; the message shows it."""


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs; of a key that stands twice nobody would see that one value is lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise DoubleKeyError(shown(next(key for key, _ in pairs if key in seen or seen.add(key))))
    return found


def checked(value: Any, source: str, finite: bool = True) -> Any:
    """The value, if all of it is within the limits; else InputError. Files of our own may hold NaN."""
    level = [[value]]
    for _ in range(DEEPEST + 1):
        below = []
        for items in level:
            for item in items:
                if isinstance(item, dict):
                    below += [item.values(), item]
                elif isinstance(item, list):
                    below.append(item)
                elif item is not None:
                    _check_scalar(item, source, finite)
        if not below:
            return value
        level = below
    raise too_deep(source)


def _check_scalar(item: Any, source: str, finite: bool) -> None:
    if isinstance(item, str):
        if not item.isascii() and _SURROGATE.search(item):
            raise InputError(f"{source} holds half of a Unicode character in {shown(item)}; write all of it.")
    elif isinstance(item, float):
        if finite and item - item != 0:
            raise InputError(f"{source} holds {item}, which is no number; accepted are finite ones.")
    elif isinstance(item, int):
        if item.bit_length() > LONGEST_NUMBER:
            raise too_long(source, f"about {round(item.bit_length() * 0.30103):,}")
    else:
        raise InputError(f"{source} holds {shown(item)}; accepted are texts, numbers, lists and objects.")


def too_deep(source: str) -> InputError:
    return InputError(f"{source} is nested too deep; accepted are up to {DEEPEST} levels.")


def too_long(source: str, digits: str = "thousands of") -> InputError:
    return InputError(f"{source} holds a whole number of {digits} digits; accepted are up to {LONGEST_NUMBER} bits.")
