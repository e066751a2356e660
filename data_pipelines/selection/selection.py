"""Which clips a training stage uses: ordered rules over the table's columns, then the best of each group of copies.

Filters only measure; every threshold is in a rules file, `rules/stage1.yaml` beside this or one of the user's.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from actavatar_jax.errors import InputError
from data_pipelines.filters import STEPS, duplicates
from data_pipelines.table import Table, read_manifest
from data_pipelines.table.report import Report

STAGES = (1, 2)
DEFAULTS = Path(__file__).with_name("rules")
TESTS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "within": lambda value, ends: ends[0] <= value <= ends[1],
}
PRINTS = ("duplicates.picture", "duplicates.sound")

Failure = tuple[str, str]  # the reason, to count by, and a sentence


def select(clip_dir: str | Path, stage: int, rules: str | Path | None = None) -> Report:
    """Adds `stage<N>` (whether the stage uses the clip), `stage<N>.reason` and `.detail` (why not) to the manifest.

    `rules` is a YAML file; default: rules/stage<N>.yaml beside this, which shows the form. The rules of stage 2 build
    on the choice for stage 1. Returns the report, also written to `clip_dir/stage<N>.json`; its notes count the
    clips that a step could not measure. Raises InputError for a malformed rules file and for a column of a hard rule
    that nothing has made.
    """
    if stage not in STAGES:
        raise InputError(f"stage {stage}: accepted are 1 and 2")
    clip_dir, chosen = Path(clip_dir), Rules.load(DEFAULTS / f"stage{stage}.yaml" if rules is None else Path(rules))
    table = read_manifest(clip_dir)
    failures = chosen.apply(table)
    report = Report(f"selected for stage {stage} in {clip_dir}", notes=dict(chosen.unmeasured(table)))
    for clip_id, failure in zip(table.column("id"), failures, strict=True):
        report.add(clip_id, *(("skipped", *failure) if failure else ("selected",)))
    name = f"stage{stage}"
    added: dict[str, list] = {name: [failure is None for failure in failures]}
    for place, column in enumerate(("reason", "detail")):
        added[f"{name}.{column}"] = [failure and failure[place] for failure in failures]
    table.with_columns(added).write(clip_dir / "manifest.parquet")
    report.save(clip_dir / f"{name}.json")
    return report


@dataclass(frozen=True)
class Rule:
    """What a column's value must be. A clip without a value fails a hard rule and passes a soft one."""

    column: str
    test: str  # of TESTS
    value: Any
    kind: str  # 'hard' | 'soft'
    reason: str  # of a clip that fails, in few words

    @classmethod
    def of(cls, row: Any) -> "Rule":
        """The rule in a row of a rules file. Raises InputError that says what is wrong with it."""
        names = list(cls.__dataclass_fields__)
        if not isinstance(row, Mapping) or set(row) != set(names):
            raise InputError(f"it must have exactly {', '.join(names)}")
        for name in ("column", "reason"):
            if not isinstance(row[name], str):
                raise InputError(f"{name} {row[name]!r} is no text")
        if row["test"] not in TESTS:
            raise InputError(f"test '{row['test']}': accepted are {', '.join(TESTS)}")
        if row["kind"] not in ("hard", "soft"):
            raise InputError(f"kind '{row['kind']}': accepted are hard and soft")
        ends = row["value"] if row["test"] == "within" else [row["value"]] * 2
        if row["test"] != "==" and not (
            isinstance(ends, list) and [isinstance(e, int | float) for e in ends] == [True] * 2
        ):
            raise InputError(f"test '{row['test']}' does not take {row['value']!r}, but numbers: one, 'within' two")
        return cls(**row)

    @property
    def step(self) -> str:
        return self.column.rpartition(".")[0]

    def holds(self, value: Any) -> bool:
        try:
            return TESTS[self.test](value, self.value)
        except TypeError as error:
            raise InputError(f"column {self.column} holds {value!r}, which is not {self.test} {self.value}") from error


@dataclass(frozen=True)
class Rules:
    """Rules in order, and by which columns the best of a group of copies is known (none: copies are kept)."""

    rules: tuple[Rule, ...]
    best_by: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> "Rules":
        """Reads a rules file. Raises InputError that names the file and the rule."""
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"rules file {path} cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"rules file {path} is not valid YAML: {' '.join(str(error).split())}") from error
        lists = isinstance(data, Mapping) and all(isinstance(value, list) for value in data.values())
        if not lists or not data.keys() <= {"rules", "duplicates"} or not data.get("rules"):
            raise InputError(f"rules file {path}: it must have a list 'rules' and may have a list 'duplicates'")
        rules = []
        for number, row in enumerate(data["rules"], start=1):
            try:
                rules.append(Rule.of(row))
            except InputError as error:
                raise InputError(f"rules file {path}, rule {number}: {error}") from error
        return cls(tuple(rules), tuple(data.get("duplicates", ())))

    def apply(self, table: Table) -> list[Failure | None]:
        """Why each clip is not selected: the first rule that it fails; None where it is."""
        missing = [rule for rule in self.rules if rule.kind == "hard" and not _made(table, rule.column)]
        if missing:
            column, stage = missing[0].column, missing[0].column in [f"stage{stage}" for stage in STAGES]
            command = f"`select --stage {column[-1]}`" if stage else "`filter`, or make the rule soft"
            raise InputError(
                f"rule '{missing[0].reason}' needs the column {column}, which nothing has made; run {command}"
            )
        failures: list[Failure | None] = [
            ("not prepared", f"not prepared: {error}") if error else None for error in _values(table, "prepare.error")
        ]
        for rule in self.rules:
            why = _unmeasured(table, rule.step)
            for i, value in enumerate(_values(table, rule.column)):
                if failures[i] is not None:
                    continue
                if value is None and rule.kind == "hard":
                    failures[i] = (why[i] or f"{rule.column} unknown", f"{rule.column} is not known ({rule.reason}?)")
                elif value is not None and not rule.holds(value):
                    shown = f"{value:.4g}" if isinstance(value, float) else value
                    failures[i] = (rule.reason, f"{rule.column} is {shown}, not {rule.test} {rule.value}")
        if self.best_by:
            for i, best in self._copies(table, [failure is None for failure in failures]):
                failures[i] = ("duplicate", f"the same as {best}, which is better")
        return failures

    def _copies(self, table: Table, passed: list[bool]) -> Iterator[tuple[int, str]]:
        """(place of a clip, id of the better one) for all clips that passed but the best of each group of copies."""
        prints = list(zip(*(_values(table, name) for name in PRINTS), strict=True))
        places = [i for i, ok in enumerate(passed) if ok and None not in prints[i]]
        if not places:
            return
        groups: dict[int, list[int]] = {}
        for i, group in zip(places, duplicates.groups(*zip(*(prints[i] for i in places), strict=True)), strict=True):
            groups.setdefault(group, []).append(i)
        ids, scores = table.column("id"), [_values(table, name) for name in self.best_by]
        for group in groups.values():
            best = max(group, key=lambda i: [float("-inf") if s[i] is None else s[i] for s in scores])
            yield from ((i, ids[best]) for i in group if i != best)

    def unmeasured(self, table: Table) -> Iterator[tuple[str, int]]:
        """How many clips each step behind these rules could not measure, by the reason."""
        steps = dict.fromkeys(rule.step for rule in self.rules)
        for step in [*steps, *(["duplicates"] if self.best_by else [])]:
            if step in STEPS and not _made(table, f"{step}.version"):
                yield f"{step}: not run", len(table)
            why = [reason for reason in _unmeasured(table, step) if reason]
            yield from ((reason, why.count(reason)) for reason in dict.fromkeys(why))


def _made(table: Table, column: str) -> bool:
    """Whether the step behind the column has run; what it found out about no clip at all has no column."""
    step = column.rpartition(".")[0]
    return column in table.names or f"{step}.version" in table.names


def _unmeasured(table: Table, step: str) -> list[str | None]:
    """Why the step has no values of a clip, by clip."""
    available, errors = _values(table, f"{step}.available"), _values(table, f"{step}.error")
    return [
        f"{step}: not available" if there is False else f"{step}: {error}" if error else None
        for there, error in zip(available, errors, strict=True)
    ]


def _values(table: Table, column: str) -> list[Any]:
    return table.column(column) if column in table.names else [None] * len(table)
