"""Why clips are not selected: the first rule that each one fails, then all but the best of each group of copies."""

from collections.abc import Iterator, Mapping
from math import isnan
from types import MappingProxyType
from typing import Any

import numpy as np

from actavatar_jax.errors import InputError
from data_pipelines.filters import FILTERS, NEEDED, group_copies
from data_pipelines.selection.ruleset import Rule, RuleSet
from data_pipelines.table import Table

STAGES = (1, 2)
PRINTS = ("duplicates.picture", "duplicates.sound")
NOTHING: Mapping[str, Table] = MappingProxyType({})

Failure = tuple[str, str]  # the reason, to count by, and a sentence


def find_failures(rules: RuleSet, table: Table, before: Mapping[str, Table] = NOTHING) -> list[Failure | None]:
    """Why each clip is not selected: the first rule that it fails; None where it is.

    before: tables by the names of their folders. Copies of their clips are left out.
    """
    _check_columns(rules, table)
    failures = list(map(_unprepared, _values(table, "prepare.error")))
    for rule in rules.rules:
        failures = [first or now for first, now in zip(failures, _judged(rule, table), strict=True)]
    if rules.best_by:
        for i, copied in _copies(rules.best_by, table, [failure is None for failure in failures], before):
            failures[i] = ("duplicate", f"the same as {copied}")
    return failures


def count_failing(rules: RuleSet, table: Table) -> list[tuple[Rule, int, int]]:
    """Each rule, how many prepared clips fail it, and how many of these fail no other one."""
    prepared = np.array([error is None for error in _values(table, "prepare.error")], bool)
    failing = np.array([[failure is not None for failure in _judged(rule, table)] for rule in rules.rules], bool)
    failing &= prepared
    alone = failing & (failing.sum(0) == 1)
    return list(zip(rules.rules, failing.sum(1).tolist(), alone.sum(1).tolist(), strict=True))


def _unprepared(error: str | None) -> Failure | None:
    return ("not prepared", f"not prepared: {error}") if error else None


def _judged(rule: Rule, table: Table) -> list[Failure | None]:
    """Which clips fail one rule, and why. What is not known fails a hard one."""
    why, failures = _unmeasured(table, rule.step), []
    for reason, value in zip(why, _values(table, rule.column), strict=True):
        failure = None
        if value is None and rule.kind == "hard":
            failure = reason or f"{rule.column} unknown", f"{rule.column} is not known ({rule.reason}?)"
        elif value is not None and not rule.holds(value):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            failure = rule.reason, f"{rule.column} is {shown}, not {rule.test} {rule.value}"
        failures.append(failure)
    return failures


def _check_columns(rules: RuleSet, table: Table) -> None:
    """InputError for a hard rule whose column nothing has made, or whose model was not there."""
    missing = [rule for rule in rules.rules if rule.kind == "hard" and not _made(table, rule.column)]
    if missing:
        column, stage = missing[0].column, missing[0].column in [f"stage{stage}" for stage in STAGES]
        command = f"`select --stage {column[-1]}`" if stage else "`filter`, or make the rule soft"
        raise InputError(f"rule '{missing[0].reason}' needs the column {column}, which nothing has made; run {command}")
    for rule in rules.rules:
        blind = _values(table, f"{rule.step}.available").count(False)
        if rule.kind == "hard" and blind and any(_lacks(table, rule.column)):
            raise InputError(
                f"rule '{rule.reason}' needs the column {rule.column}, and {blind:,} of {len(table):,} clips were "
                f"measured without the model; run `filter --steps {rule.step} --models` with a folder that has "
                f"{', '.join(NEEDED.get(rule.step, ()))}, or make the rule soft"
            )


def _lacks(table: Table, column: str) -> Iterator[bool]:
    """Whether a clip lacks a value for want of a model, clip by clip."""
    there = _values(table, f"{column.rpartition('.')[0]}.available")
    yield from (value is None and seen is False for value, seen in zip(_values(table, column), there, strict=True))


def count_unmeasured(rules: RuleSet, table: Table) -> Iterator[tuple[str, int]]:
    """How many clips each step behind these rules could not measure, by the reason."""
    steps = dict.fromkeys(rule.step for rule in rules.rules)
    for step in [*steps, *(["duplicates"] if rules.best_by else [])]:
        if step in FILTERS and not _made(table, f"{step}.version"):
            yield f"{step}: not run", len(table)
        why = [reason for reason in _unmeasured(table, step) if reason]
        yield from ((reason, why.count(reason)) for reason in dict.fromkeys(why))


def _copies(
    best_by: tuple[str, ...], table: Table, passed: list[bool], before: Mapping[str, Table]
) -> Iterator[tuple[int, str]]:
    """(place of a clip, what it is the same as) for all clips that passed but the best of each group of copies.

    Of a group that has a clip of `before` none is left.
    """
    prints = _prints(table)
    places = [i for i, ok in enumerate(passed) if ok and None not in prints[i]]
    known = [(f"{folder}/{i}", p) for folder, old in before.items() for i, p in _of_ids(old) if None not in p]
    if not places:
        return
    found = group_copies(*zip(*(prints[i] for i in places), *(p for _, p in known), strict=True))
    groups: dict[int, list[int]] = {}
    for i, group in zip(places, found, strict=False):
        groups.setdefault(group, []).append(i)
    taken = dict(zip(reversed(found[len(places) :]), (name for name, _ in reversed(known)), strict=True))
    ids, scores = table.column("id"), [_values(table, name) for name in best_by]
    for number, group in groups.items():
        if number in taken:
            yield from ((i, taken[number]) for i in group)
            continue
        best = max(group, key=lambda i: [float("-inf") if s[i] is None else s[i] for s in scores])
        yield from ((i, f"{ids[best]}, which is better") for i in group if i != best)


def _prints(table: Table) -> list[tuple[str | None, ...]]:
    return list(zip(*(_values(table, name) for name in PRINTS), strict=True))


def _of_ids(table: Table) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    return zip(table.column("id"), _prints(table), strict=True)


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
    """A column's values; what is no number (NaN) has not been seen, and counts as unknown."""
    values = table.column(column) if column in table.names else [None] * len(table)
    return [None if isinstance(value, float) and isnan(value) else value for value in values]
