"""What a page shows, whatever it is about: tiles, tables, reasons, charts and samples."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from actavatar_jax.charts import draw_histogram
from actavatar_jax.errors import InputError
from actavatar_jax.storage import write_text

SHOWN_AT = (0.1, 0.5, 0.9)  # of the length of a sample


@dataclass
class Page:
    """What `page.html` shows."""

    title: str
    tiles: list[tuple[str, str]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[dict[str, Any]] = field(default_factory=list)
    charts: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add_table(self, title: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        self.tables.append({"title": title, "names": names, "rows": list(rows)})

    def add_reasons(self, title: str, reasons: Iterable[str | None]) -> None:
        """How often each reason occurs, the commonest first; nothing where there is none."""
        counts = Counter(reason for reason in reasons if reason)
        if counts:
            rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
            self.reasons.append({"title": title, "counts": rows, "total": rows[0][1]})

    def add_chart(self, name: str, values: Sequence[Any]) -> None:
        """A histogram of numbers (None: unknown); nothing where there are none, or other values."""
        known = [value for value in values if value is not None]
        if not known or any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
            return
        finite = [value for value in known if isfinite(value)]
        if finite:
            svg = draw_histogram(finite)
            self.charts.append({"name": name, "svg": svg, "known": len(finite), "unknown": len(values) - len(finite)})

    def write(self, path: Path) -> None:
        try:
            import jinja2
        except ImportError as error:
            raise InputError('`data inspect` needs jinja2: pip install "actavatar-jax[data]"') from error
        source = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
        write_text(path, template.render(vars(self)))


def format_duration(seconds: float | int) -> str:
    """Seconds in the unit that says most: 2.5 s, 12.3 min, 1,234.5 h."""
    unit, each = ("s", 1) if seconds < 60 else ("min", 60) if seconds < 3600 else ("h", 3600)
    return f"{seconds / each:,.1f} {unit}"


def pick_spread(things: Sequence[Any], count: int) -> list[Any]:
    """`count` of them at equal distances, or all."""
    count = min(count, len(things))
    return [things[i * len(things) // count] for i in range(count)]
