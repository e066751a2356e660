"""Rules files: what the columns of a clip must hold for a training stage to use it."""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, named, read_yaml, shown

DEFAULT_RULES = Path(__file__).with_name("rules")  # a folder of one file per stage
TESTS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "within": lambda value, ends: ends[0] <= value <= ends[1],
}


@dataclass(frozen=True)
class Rule:
    """What a column's value must be. A clip without a value fails a hard rule and passes a soft one."""

    column: str
    test: str  # of TESTS
    value: Any
    kind: str  # 'hard' | 'soft'
    reason: str  # of a clip that fails, in few words

    @classmethod
    def from_row(cls, row: Any) -> "Rule":
        """The rule in a row of a rules file. Raises InputError that says what is wrong with it."""
        names = list(cls.__dataclass_fields__)
        if not isinstance(row, Mapping) or set(row) != set(names):
            raise InputError(f"it must have exactly {', '.join(names)}")
        for name in ("column", "reason"):
            if not isinstance(row[name], str):
                raise InputError(f"{name} {shown(row[name])} is no text")
        if not isinstance(row["test"], str) or row["test"] not in TESTS:
            raise InputError(f"test {shown(row['test'])}: accepted are {', '.join(TESTS)}")
        if row["kind"] not in ("hard", "soft"):
            raise InputError(f"kind {shown(row['kind'])}: accepted are hard and soft")
        ends = row["value"] if row["test"] == "within" else [row["value"]] * 2
        if row["test"] != "==" and not (
            isinstance(ends, list) and [isinstance(e, int | float) for e in ends] == [True] * 2
        ):
            raise InputError(
                f"test '{row['test']}' does not take {shown(row['value'])}, but numbers: one, 'within' two"
            )
        return cls(**row)

    @property
    def step(self) -> str:
        return self.column.rpartition(".")[0]

    def holds(self, value: Any) -> bool:
        try:
            return TESTS[self.test](value, self.value)
        except TypeError as error:
            raise InputError(
                f"column {self.column} holds {shown(value)}, which is not {self.test} {self.value}"
            ) from error


@dataclass(frozen=True)
class RuleSet:
    """Rules in order, and by which columns the best of a group of copies is known (none: copies are kept)."""

    rules: tuple[Rule, ...]
    best_by: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Place) -> "RuleSet":
        """Reads a rules file. Raises InputError that names the file and the rule."""
        data = read_yaml(path, object)
        lists = isinstance(data, Mapping) and all(isinstance(value, list) for value in data.values())
        if not lists or not data.keys() <= {"rules", "duplicates"} or not data.get("rules"):
            raise InputError(f"rules file {named(path)}: it must have a list 'rules' and may have a list 'duplicates'")
        rules = []
        for number, row in enumerate(data["rules"], start=1):
            try:
                rules.append(Rule.from_row(row))
            except InputError as error:
                raise InputError(f"rules file {named(path)}, rule {number}: {error}") from error
        best_by = data.get("duplicates", [])
        if not all(isinstance(name, str) for name in best_by):
            raise InputError(
                f"rules file {named(path)}: 'duplicates' is {shown(best_by)}; accepted are names of columns"
            )
        return cls(tuple(rules), tuple(best_by))
