"""What became of every input: one status and, where it was skipped, one reason each; the counts add up."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from actavatar_jax.storage import Place, cut, refusal, write_json

CRASHED, TIMED_OUT, UNEXPECTED = "crashed", "timed out", "unexpected error"  # what no step says of a clip by itself
STORE_FAILED = "store failed"  # neither
MOST_SHOWN = 20  # sentences that are printed; the saved report has them all
UNWANTED = ("held back", "not selected")  # inputs that were not asked for
FAULTS = (
    "caption lost",
    "caption not UTF-8",
    CRASHED,
    "damaged annotation",
    "invalid prompt",
    "lost",
    "no answer",
    "no source",
    "not asked",
    "not finite",
    "odd annotation",
    "odd entry",
    "odd name",
    "odd row",
    "request refused",
    "sparse member",
    STORE_FAILED,
    TIMED_OUT,
    "too large",
    "torn sample",
    "torn tar",
    UNEXPECTED,
    "unreadable",
)  # reasons that are failures of single inputs


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    status: str  # 'made' | 'kept' (already there, unchanged) | 'selected' | 'skipped' | one of UNWANTED
    reason: str = ""
    detail: str = ""


@dataclass
class StepReport:
    """Outcomes of one run; `print(report)` shows the table."""

    title: str
    outcomes: list[Outcome] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)  # what else is to be known, with the number of inputs

    def add(self, name: str, status: str, reason: str = "", detail: str = "") -> None:
        self.outcomes.append(Outcome(cut(name, 300), status, reason, cut(detail, 400)))

    def check(self) -> None:
        """InputError where single inputs failed, or all were left out: so that a command does not end with code 0."""
        wanted = [outcome for outcome in self.outcomes if outcome.status not in UNWANTED]
        skipped = Counter(outcome.reason for outcome in wanted if outcome.status == "skipped")
        failed = {reason: count for reason, count in sorted(skipped.items()) if reason in FAULTS}
        if wanted and skipped.total() == len(wanted):
            reasons = [f"{count:,} {reason}" for reason, count in skipped.most_common()]
            raise refusal(f"{self.title}: nothing could be used of {len(wanted):,}:", reasons)
        if failed:
            reasons = [f"{count:,} {reason}" for reason, count in failed.items()]
            raise refusal(
                f"{self.title}: {sum(failed.values()):,} of {len(wanted):,} failed, the others are done:", reasons
            )

    def counts(self) -> dict[str, int]:
        """Number of inputs per status, and per 'skipped: <reason>'; the sum is the number of inputs."""
        labels = Counter(o.status + (f": {o.reason}" if o.reason else "") for o in self.outcomes)
        return dict(sorted(labels.items()))

    def save(self, path: Place) -> None:
        write_json(path, self.summary())

    def summary(self) -> dict[str, Any]:
        """What is saved of it."""
        skipped = [asdict(outcome) for outcome in self.outcomes if outcome.status == "skipped"]
        summary = {"title": self.title, "total": len(self.outcomes), "counts": self.counts(), "skipped": skipped}
        return summary | ({"notes": self.notes} if self.notes else {})

    def __str__(self) -> str:
        rows = [*self.counts().items(), ("total", len(self.outcomes)), *self.notes.items()]
        width = max(len(label) for label, _ in rows)
        lines = [self.title, *(f"  {label:<{width}}  {count:>6}" for label, count in rows)]
        skipped = [outcome for outcome in self.outcomes if outcome.status == "skipped"]
        if skipped:
            lines += ["skipped because", *(f"  {o.name}: {o.detail or o.reason}" for o in skipped[:MOST_SHOWN])]
        if len(skipped) > MOST_SHOWN:
            lines.append(f"  and {len(skipped) - MOST_SHOWN} more")
        return "\n".join(lines)
