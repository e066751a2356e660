"""The judge's answer read and checked, and what follows from its times."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.items import BenchItem, BenchPhase
from actavatar_jax.evaluation.bench.judge.questions import TOLERANCE
from actavatar_jax.storage import find_json_objects, parse_json, refusal

MOST_AA_UNSEEN = 2  # of an action that is not seen in its window
SLACK = 0.5  # seconds by which a time may lie behind the end: the last frame that is shown is not the last instant


@dataclass(frozen=True)
class PhaseVerdict:
    """Of one phase in one run; see `questions` on what scores mean. Times are seconds, None where it is not seen."""

    __pydantic_config__: ClassVar = {"extra": "ignore"}

    observed: str
    observed_start: float | None
    observed_end: float | None
    ao: float
    aa: float
    tc: float
    aq: float
    hc: float | None

    @property
    def span(self) -> tuple[float, float] | None:
        return None if self.observed_start is None else (self.observed_start, self.observed_end)

    def iou(self, phase: BenchPhase) -> float:
        """Temporal intersection over union of what was seen and the window; 0 where nothing was."""
        if self.span is None:
            return 0.0
        start, end = self.span
        shared = max(0.0, min(end, phase.end) - max(start, phase.start))
        return shared / (end - start + phase.end - phase.start - shared)

    def satisfied(self, phase: BenchPhase) -> float:
        """1 if it was seen, and at no time more than 0.3 s outside its window; TIE (arXiv 2605.10543)."""
        if self.span is None:
            return 0.0
        start, end = self.span
        return float(start >= phase.start - TOLERANCE and end <= phase.end + TOLERANCE)

    def boundary_error(self, phase: BenchPhase) -> float | None:
        """Seconds by which onset and end miss those of the window, mean of the two; None where nothing was seen."""
        if self.span is None:
            return None
        start, end = self.span
        return (abs(start - phase.start) + abs(end - phase.end)) / 2


@dataclass(frozen=True)
class _Answer:
    phases: list[PhaseVerdict]


def read_verdicts(text: str, item: BenchItem) -> tuple[PhaseVerdict, ...]:
    """The verdicts on all phases of an item, in their order, from an answer with or without words around it.

    Raises:
      InputError: there is no such object in it, or one that contradicts itself or the question.
    """
    found = next((found for found in find_json_objects(text) if "phases" in found), None)
    if found is None:
        raise InputError("The answer holds no JSON object with the key phases.")
    verdicts = parse_json(json.dumps(found), "the answer", _Answer).phases
    if len(verdicts) != len(item.phases):
        raise InputError(
            f"The answer is about {len(verdicts)} phases; accepted are the {len(item.phases)} asked about."
        )
    if problems := list(_problems(verdicts, item)):
        raise refusal("The answer:", problems)
    return tuple(verdicts)


def _problems(verdicts: Sequence[PhaseVerdict], item: BenchItem) -> Iterator[str]:
    for number, (verdict, phase) in enumerate(zip(verdicts, item.phases, strict=True), start=1):
        yield from (f"phase {number}: {problem}" for problem in _phase_problems(verdict, phase, item.duration))


def _phase_problems(verdict: PhaseVerdict, phase: BenchPhase, duration: float) -> Iterator[str]:
    if not verdict.observed.strip():
        yield "observed is empty"
    if verdict.ao not in (0, 1):
        yield f"ao is {verdict.ao:g}, accepted is 0 or 1"
    for name in ("aa", "tc", "aq", "hc"):
        score = getattr(verdict, name)
        if score is not None and not 0 <= score <= 10:
            yield f"{name} is {score:g}, accepted is 0 to 10"
    if verdict.ao == 0 and verdict.aa > MOST_AA_UNSEEN:
        yield f"aa is {verdict.aa:g} where ao is 0, accepted is up to {MOST_AA_UNSEEN}"
    start, end = verdict.observed_start, verdict.observed_end
    if (start is None) != (end is None):
        yield "observed_start and observed_end are accepted as two times or as two nulls"
    elif start is not None and not 0 <= start < end <= duration + SLACK:
        yield f"it is observed from {start:g} to {end:g} s, accepted is a time within the clip"
    elif verdict.ao == 1 and not _overlaps(verdict.span, phase):
        yield "ao is 1 though the action is not observed within its window"


def _overlaps(span: tuple[float, float] | None, phase: BenchPhase) -> bool:
    return span is not None and span[0] <= phase.end + TOLERANCE and span[1] >= phase.start - TOLERANCE
