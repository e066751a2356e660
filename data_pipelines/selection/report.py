"""What each rule costs: how many clips it leaves out, and how many of them nothing else does."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from actavatar_jax.storage import Place, write_json
from data_pipelines.selection.ruleset import Rule
from data_pipelines.table import StepReport


@dataclass
class SelectionReport(StepReport):
    """A report with a row per rule; `add_rules` fills them in."""

    rules: list[dict[str, Any]] = field(default_factory=list)

    def add_rules(self, counted: Iterable[tuple[Rule, int, int]]) -> None:
        """Of each rule how many prepared clips fail it, and how many fail it alone."""
        self.rules += [
            {"rule": f"{r.column} {r.test} {r.value}", "kind": r.kind, "reason": r.reason, "fail": n, "alone": alone}
            for r, n, alone in counted
        ]

    def save(self, path: Place) -> None:
        """Writes the report, and `<name>.rules.json` beside it."""
        super().save(path)
        write_json(path.with_suffix(".rules.json"), self.rules)

    def __str__(self) -> str:
        width = max(len(row["rule"]) for row in self.rules)
        lines = [f"  {row['rule']:<{width}}  {row['fail']:>7}  {row['alone']:>7}" for row in self.rules]
        head = f"  {'prepared clips that fail a rule':<{width}}  {'':>7}  {'it alone':>7}"
        return "\n".join([super().__str__(), head, *lines])
