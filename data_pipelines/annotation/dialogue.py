"""One question, and one more when the answer cannot be used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actavatar_jax.chat import Answer, Message
from data_pipelines.annotation.reading import Fault
from data_pipelines.annotation.request import make_repair_turns
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.validate import Verdict, judge_answer

Ask = Callable[[Sequence[Message]], Answer]  # asks the question with these turns added to it


@dataclass(frozen=True)
class Dialogue:
    """What came of a dialogue: the last verdict, the faults of the first answer, and the answers."""

    verdict: Verdict
    first_faults: tuple[Fault, ...]
    answers: tuple[Answer, ...]


def ask_with_repair(ask: Ask, scene: Scene) -> Dialogue:
    """Asks, judges, and asks once more with the faults if there are any."""
    first = ask([])
    verdict = judge_answer(first, scene)
    if not verdict.faults:
        return Dialogue(verdict, (), (first,))
    second = ask(make_repair_turns(first.text, verdict.faults))
    return Dialogue(judge_answer(second, scene), verdict.faults, (first, second))
