"""Numbers that other programs found for the same videos, in a file, beside those that are measured here.

{"name": "iqa", "title": "IQA", "better": "higher", "about": "Q-Align, 8 frames a clip", "scores": {"wave_01": 0.71}}
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import MinLen
from pydantic import StringConstraints

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.clips import BenchClip
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.metric import Column, Scores, mean_of
from actavatar_jax.evaluation.bench.metrics import METRICS
from actavatar_jax.storage import named, read_json
from actavatar_jax.synchrony import NotScored

_Name = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]{0,39}$")]


@dataclass(frozen=True)
class ExternalFile:
    """What such a file holds. about: program, model and settings, which decide what may be compared."""

    name: _Name
    title: Annotated[str, MinLen(1)]
    about: Annotated[str, MinLen(1)]
    scores: Annotated[dict[str, float], MinLen(1)]
    better: Literal["higher", "lower", ""] = ""


@dataclass(frozen=True)
class ExternalMetric:
    """See `Metric`. A clip of which the file knows nothing has that as its reason."""

    name: str
    columns: tuple[Column, ...]
    backbone: str
    values: Mapping[str, float] = field(repr=False)

    def score(self, clips: Sequence[BenchClip], kept: Kept, step: Callable[[], object]) -> Scores:
        rows, reasons = {}, {}
        for clip in clips:
            if clip.item.id in self.values:
                rows[clip.item.id] = {self.name: self.values[clip.item.id]}
            else:
                reasons[clip.item.id] = NotScored("not in the file", "the other program has no number of it")
            step()
        return Scores(rows, reasons, {self.name: mean_of(self.name, rows)}, {"backbone": self.backbone})


def read_external(paths: Sequence[str | Path], ids: Sequence[str]) -> list[ExternalMetric]:
    """The metrics of files, one each.

    Raises:
      InputError: a file cannot be read or is of another form, two have one name or that of a metric of ours, or none of
        its clips is in the bench, whose ids are `ids`.
    """
    metrics: dict[str, ExternalMetric] = {}
    for path in paths:
        file = read_json(path, ExternalFile)
        if file.name in METRICS or file.name in metrics:
            raise InputError(f"{named(path)}: there is a metric '{file.name}' already; give it another name.")
        if not set(ids) & set(file.scores):
            raise InputError(f"{named(path)}: none of its {len(file.scores):,} clips is in the bench.")
        column = Column(file.name, file.title, file.better)
        metrics[file.name] = ExternalMetric(file.name, (column,), file.about, file.scores)
    return list(metrics.values())
