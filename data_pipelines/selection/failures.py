"""Why clips are not selected: the first rule that each one fails, then all but the best of each group of copies."""

from collections.abc import Iterator
from typing import Any

from actavatar_jax.errors import InputError
from data_pipelines.filters import FILTERS, group_copies
from data_pipelines.selection.ruleset import RuleSet
from data_pipelines.table import Table

STAGES = (1, 2)
PRINTS = ("duplicates.picture", "duplicates.sound")

Failure = tuple[str, str]  # the reason, to count by, and a sentence


def find_failures(rules: RuleSet, table: Table) -> list[Failure | None]:
    """Why each clip is not selected: the first rule that it fails; None where it is."""
    missing = [rule for rule in rules.rules if rule.kind == "hard" and not _made(table, rule.column)]
    if missing:
        column, stage = missing[0].column, missing[0].column in [f"stage{stage}" for stage in STAGES]
        command = f"`select --stage {column[-1]}`" if stage else "`filter`, or make the rule soft"
        raise InputError(f"rule '{missing[0].reason}' needs the column {column}, which nothing has made; run {command}")
    failures: list[Failure | None] = [
        ("not prepared", f"not prepared: {error}") if error else None for error in _values(table, "prepare.error")
    ]
    for rule in rules.rules:
        why = _unmeasured(table, rule.step)
        for i, value in enumerate(_values(table, rule.column)):
            if failures[i] is not None:
                continue
            if value is None and rule.kind == "hard":
                failures[i] = (why[i] or f"{rule.column} unknown", f"{rule.column} is not known ({rule.reason}?)")
            elif value is not None and not rule.holds(value):
                shown = f"{value:.4g}" if isinstance(value, float) else value
                failures[i] = (rule.reason, f"{rule.column} is {shown}, not {rule.test} {rule.value}")
    if rules.best_by:
        for i, best in _copies(rules.best_by, table, [failure is None for failure in failures]):
            failures[i] = ("duplicate", f"the same as {best}, which is better")
    return failures


def count_unmeasured(rules: RuleSet, table: Table) -> Iterator[tuple[str, int]]:
    """How many clips each step behind these rules could not measure, by the reason."""
    steps = dict.fromkeys(rule.step for rule in rules.rules)
    for step in [*steps, *(["duplicates"] if rules.best_by else [])]:
        if step in FILTERS and not _made(table, f"{step}.version"):
            yield f"{step}: not run", len(table)
        why = [reason for reason in _unmeasured(table, step) if reason]
        yield from ((reason, why.count(reason)) for reason in dict.fromkeys(why))


def _copies(best_by: tuple[str, ...], table: Table, passed: list[bool]) -> Iterator[tuple[int, str]]:
    """(place of a clip, id of the better one) for all clips that passed but the best of each group of copies."""
    prints = list(zip(*(_values(table, name) for name in PRINTS), strict=True))
    places = [i for i, ok in enumerate(passed) if ok and None not in prints[i]]
    if not places:
        return
    groups: dict[int, list[int]] = {}
    for i, group in zip(places, group_copies(*zip(*(prints[i] for i in places), strict=True)), strict=True):
        groups.setdefault(group, []).append(i)
    ids, scores = table.column("id"), [_values(table, name) for name in best_by]
    for group in groups.values():
        best = max(group, key=lambda i: [float("-inf") if s[i] is None else s[i] for s in scores])
        yield from ((i, ids[best]) for i in group if i != best)


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
