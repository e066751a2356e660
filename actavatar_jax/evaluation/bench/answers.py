"""What all questions of a bench to a multimodal model have in common: how it is asked, what that costs, and that every
raw answer is kept."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from actavatar_jax.chat import Answer, Server, Usage
from actavatar_jax.checks import COUNT, NOT_NEGATIVE, checked
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.storage import parse_json

FINISHED = ("stop", "None")  # some servers do not say
FRAME_TOKENS, LETTERS = 258, 4  # of a picture, as Gemini counts them; letters of a token


@dataclass(frozen=True)
class AskingSettings:
    """server: with its temperature. parallel: requests at a time. prices: of a million tokens read, and written; 0 if
    unknown."""

    server: Server
    parallel: int = 4
    input_price: float = 0.0
    output_price: float = 0.0

    def __post_init__(self) -> None:
        checked("number of requests at a time", self.parallel, int, COUNT)
        for name in ("input_price", "output_price"):
            checked(name.replace("_", " "), getattr(self, name), float, NOT_NEGATIVE)

    def cost(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.input_price + usage.completion_tokens * self.output_price) / 1e6


@dataclass(frozen=True)
class Estimate:
    """What asking takes, if every answer is usable: calls that are planned, those answered already, tokens of the
    rest."""

    calls: int
    kept: int
    usage: Usage
    cost: float

    def line(self) -> str:
        tokens = f"about {self.usage.prompt_tokens:,} tokens to read and {self.usage.completion_tokens:,} to write"
        cost = f", {self.cost:,.2f} at the prices given" if self.cost else ""
        return f"{self.calls} calls, {self.kept} answered already; the others: {tokens}{cost}"


def keep_answer(answer: Answer, asked: Mapping[str, Any], kept: Kept, *question: Any) -> None:
    """question: all that the answer may depend on. asked: what else is worth knowing of it."""
    kept.put({"asked": dict(asked), "answer": asdict(answer)}, *question)


def find_answer(kept: Kept, *question: Any) -> Answer | None:
    """The answer that was kept; None where there is none, or a damaged one, which is asked for anew."""
    found = kept.get(*question)
    try:
        return None if found is None else parse_json(json.dumps(found), "a kept answer", _Kept).answer
    except InputError:
        return None


@dataclass(frozen=True)
class _Kept:
    answer: Answer
