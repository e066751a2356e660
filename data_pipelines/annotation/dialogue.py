"""One question, and one more when the answer cannot be used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_pipelines.annotation.client import Answer, Message
from data_pipelines.annotation.reading import Fault
from data_pipelines.annotation.request import repair_turns
from data_pipelines.annotation.validate import Scene, Verdict, judge

Ask = Callable[[Sequence[Message]], Answer]  # asks the question with these turns added to it


@dataclass(frozen=True)
class Outcome:
    """What came of a dialogue: the last verdict, the faults of the first answer, and the answers."""

    verdict: Verdict
    first_faults: tuple[Fault, ...]
    answers: tuple[Answer, ...]


def converse(ask: Ask, scene: Scene) -> Outcome:
    """Asks, judges, and asks once more with the faults if there are any."""
    first = ask([])
    verdict = judge(first, scene)
    if not verdict.faults:
        return Outcome(verdict, (), (first,))
    second = ask(repair_turns(first.text, verdict.faults))
    return Outcome(judge(second, scene), verdict.faults, (first, second))
