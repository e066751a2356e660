"""Values checked against a type: a dataclass, a TypedDict, lists and dicts of these, or a plain type.

Types are strict, as JSON's are: "4" is no number, 1 is not true, 4.5 is no whole number. All problems are collected,
each with its key path, what was found, and what is accepted. Unknown keys of a dataclass are problems where it says

    __pydantic_config__: ClassVar = {"extra": "forbid"}
"""

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage.sentences import cut, refusal, shown

if TYPE_CHECKING:  # it takes a moment to import, and many readers want no more than a dict
    from pydantic import TypeAdapter

Fault = dict[str, Any]  # of pydantic: its type, loc and msg

_PLAIN = {dict: "an object", list: "a list", str: "text"}
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
_ACCEPTED = {
    "bool_type": "true or false",
    "dataclass_type": "an object",
    "dict_type": "an object",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "none_required": "null",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "tuple_type": "a list",
}


def conform(value: Any, as_: Any, source: str) -> Any:
    """A value of JSON's types as `as_`; InputError names the `source` and all problems."""
    if as_ in (object, Any):
        return value
    if as_ in _PLAIN:
        if not isinstance(value, as_):
            found = _PLAIN.get(type(value), "nothing" if value is None else shown(value))
            raise InputError(f"{source} holds {found}; expected {_PLAIN[as_]}.")
        return value
    from pydantic import ValidationError

    try:
        return _adapter(as_).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise refusal(f"{source}:", list(_problems(value, error.errors(include_url=False), as_))) from error


@functools.cache
def _adapter(as_: Any) -> "TypeAdapter":
    from pydantic import TypeAdapter

    return TypeAdapter(as_)


def _problems(value: Any, faults: list[Fault], as_: Any) -> Iterator[str]:
    """One text for each place: the alternatives of a union are separate faults."""
    accepted: dict[str, list[str]] = {}
    found: dict[str, Any] = {}
    for fault in faults:
        place, inside = _follow(value, fault["loc"])
        key = ".".join(filter(None, (place, str(fault["loc"][-1]) if fault["loc"] else "")))
        if fault["type"] == "missing":
            yield f"{key} is missing"
        elif fault["type"] in _UNKNOWN:
            yield f"{place} is unknown" + _names(as_) * (len(fault["loc"]) == 1)
        elif fault["type"] == "value_error":  # from a `__post_init__`, a sentence of its own
            yield f"{place}: {fault['ctx']['error']}" if place else str(fault["ctx"]["error"])
        else:
            found[place] = inside
            accepted.setdefault(place, []).append(_words(fault))
    for place, words in accepted.items():
        yield f"{place or 'it'} is {shown(found[place])}, accepted is {' or '.join(dict.fromkeys(words))}"


def _follow(value: Any, loc: tuple[str | int, ...]) -> tuple[str, Any]:
    """(key path, what is there), as far as the value has it: behind that come names of a union's alternatives."""
    place = ""
    for key in loc:
        if isinstance(value, dict) and key in value:
            place = f"{place}.{cut(key, 40)}" if place else cut(key, 40)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            place += f"[{key}]"
        else:
            break
        value = value[key]
    return place, value


def _words(fault: Fault) -> str:
    if fault["type"] in _ACCEPTED:
        return _ACCEPTED[fault["type"]]
    if fault["type"] == "literal_error":
        return fault["ctx"]["expected"]
    return fault["msg"].removeprefix("Input should be ")


def _names(as_: Any) -> str:
    """What is known instead, where that can be said: of a dataclass or TypedDict."""
    names = [name for name in getattr(as_, "__annotations__", {}) if not name.startswith("_")]
    return f" (accepted are {', '.join(names)})" if names else ""
