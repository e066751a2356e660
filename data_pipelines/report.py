"""What became of every input: one status and, where it was skipped, one reason each; the counts add up."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from data_pipelines.files import write_json


class Skip(Exception):  # noqa: N818  (it is no error: the clip is left out and the report says why)
    """This clip cannot be used. `reason` is one of a few short words to count by, `detail` the whole sentence."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Outcome:
    name: str
    status: str  # 'made' | 'kept' (already there, unchanged) | 'skipped'
    reason: str = ""
    detail: str = ""


@dataclass
class Report:
    """Outcomes of one run; `print(report)` shows the table."""

    title: str
    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, name: str, status: str, reason: str = "", detail: str = "") -> None:
        self.outcomes.append(Outcome(name, status, reason, detail))

    def counts(self) -> dict[str, int]:
        """Number of inputs per 'made', 'kept' and 'skipped: <reason>'; the sum is the number of inputs."""
        labels = Counter(o.status + (f": {o.reason}" if o.reason else "") for o in self.outcomes)
        return dict(sorted(labels.items()))

    def save(self, path: Path) -> None:
        skipped = [asdict(outcome) for outcome in self.outcomes if outcome.status == "skipped"]
        summary = {"title": self.title, "total": len(self.outcomes), "counts": self.counts(), "skipped": skipped}
        write_json(path, summary)

    def __str__(self) -> str:
        rows = [*self.counts().items(), ("total", len(self.outcomes))]
        width = max(len(label) for label, _ in rows)
        table = [f"  {label:<{width}}  {count:>6}" for label, count in rows]
        details = [f"  {o.name}: {o.detail or o.reason}" for o in self.outcomes if o.status == "skipped"]
        return "\n".join([self.title, *table] + (["skipped because", *details] if details else []))
