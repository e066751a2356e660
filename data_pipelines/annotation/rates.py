"""What the checks cost: how many answers each reason turned back, and how many of those clips were won in the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actavatar_jax.storage import Place, write_json
from data_pipelines.table import StepReport, digest

TOKENS = ("read", "written")
REVIEWED = 100  # clips for people to look at before a training


@dataclass
class AnnotationReport(StepReport):
    """A report with acceptance rates; `add_rates` fills them in."""

    rates: dict[str, Any] = field(default_factory=dict)
    review: list[str] = field(default_factory=list)

    def add_rates(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """From the columns of the annotated clips, by id.

        `rates["reasons"]`: for each reason, the number of clips whose first answer it turned back, and how many of them
        a second answer won. `rates["tokens"]`: of all answers, also of those that could not be used, as far as servers
        tell. `review`: a hundred accepted clips, always the same ones of the same table.
        """
        judged = {i: row for i, row in rows.items() if row.get("answers")}
        accepted = {i for i, row in judged.items() if row["accepted"]}
        reasons = {}
        for reason in sorted({reason for row in judged.values() for reason in row["first_faults"]}):
            turned_back = {i for i, row in judged.items() if reason in row["first_faults"]}
            reasons[reason] = {"turned back": len(turned_back), "won": len(turned_back & accepted)}
        repairs = [repair for i in accepted for repair in judged[i]["repairs"]]
        self.rates = {
            "answered": len(judged),
            "tokens": {name: sum(row.get(f"tokens_{name}") or 0 for row in judged.values()) for name in TOKENS},
            "accepted at once": sum(row["answers"] == 1 for i, row in judged.items() if i in accepted),
            "accepted in the second answer": sum(row["answers"] == 2 for i, row in judged.items() if i in accepted),
            "reasons": reasons,
            "repairs": {repair: repairs.count(repair) for repair in sorted(set(repairs))},
        }
        self.review = sorted(sorted(accepted, key=digest)[:REVIEWED])

    def save(self, path: Place) -> None:
        """Writes the report, and `<name>.rates.json` beside it."""
        super().save(path)
        write_json(path.with_suffix(".rates.json"), self.rates | {"review": self.review})

    def __str__(self) -> str:
        rates = self.rates
        share = 100 / max(rates["answered"], 1)
        lines = [
            f"  {name}: {rates[name]} ({rates[name] * share:.1f} %)"
            for name in ("accepted at once", "accepted in the second answer")
        ]
        lines += [
            f"  {reason}: {row['turned back']} first answers ({row['turned back'] * share:.1f} %), {row['won']} won"
            for reason, row in rates["reasons"].items()
        ]
        tokens = " and ".join(
            f"{total:,} {name} ({total / max(rates['answered'], 1):,.0f} a clip)"
            for name, total in rates["tokens"].items()
        )
        head = f"of {rates['answered']} clips with an answer, tokens: {tokens}"
        return "\n".join([super().__str__(), head, *lines])
