"""Ordered rules over parameter names: the one way to tell rates, freezing, weight decay and cuts over a mesh."""

import dataclasses
import re
import typing
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from actavatar_jax.errors import InputError
from actavatar_jax.storage import shown

Value = TypeVar("Value")


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class ParameterGroups(Generic[Value]):
    """Rules (regex, value): a parameter belongs to the first one whose regex is its whole '/' name.

    Raises InputError for what is no such rule.
    """

    rules: tuple[tuple[str, Value], ...]

    def __post_init__(self):
        for rule in self.rules:
            _check(rule)
        object.__setattr__(self, "rules", tuple((regex, value) for regex, value in self.rules))

    def first_match(self, name: str) -> int | None:
        """The number of the rule that decides about a parameter; None where there is none."""
        return next((i for i, (regex, _) in enumerate(self.rules) if re.fullmatch(regex, name)), None)

    def values(self, names: Iterable[str]) -> dict[str, Value]:
        """`{name: value}` of the names that a rule covers."""
        deciding = {name: self.first_match(name) for name in names}
        return {name: self.rules[index][1] for name, index in deciding.items() if index is not None}

    def uncovered(self, names: Iterable[str]) -> list[str]:
        """The names that no rule covers."""
        return [name for name in names if self.first_match(name) is None]

    def idle(self, names: Iterable[str]) -> list[str]:
        """The regexes that decide about none of the names: most likely misspelt, or behind one that takes all."""
        deciding = {self.first_match(name) for name in names}
        return [regex for i, (regex, _) in enumerate(self.rules) if i not in deciding]


def _check(rule: Any) -> None:
    try:
        regex, _ = rule
        re.compile(regex)
    except (re.error, TypeError, ValueError) as error:
        raise InputError(
            f"{shown(rule)} is no rule over parameter names; a rule is (regex of whole names, value): {error}."
        ) from error
