"""An answer of the model read and checked: the texts of an item."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.items import SECONDS, BenchPhase
from actavatar_jax.evaluation.bench.making.plans import Plan
from actavatar_jax.evaluation.bench.making.questions import ACTION_WORDS, BASE_WORDS, BODY_PARTS
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.prompt.text import clean, tells
from actavatar_jax.storage import find_json_objects, parse_json, refusal, shown

BASE_LETTERS, ACTION_LETTERS, SPOKEN_LETTERS = 500, 250, 200


@dataclass(frozen=True)
class ItemTexts:
    """What of an item the model writes, clean and as a prompt may be."""

    base: str
    transcript: str
    phases: tuple[BenchPhase, ...]


@dataclass(frozen=True)
class _Action:
    __pydantic_config__: ClassVar = {"extra": "ignore"}

    action: str
    body_part: str


@dataclass(frozen=True)
class _Answer:
    __pydantic_config__: ClassVar = {"extra": "ignore"}

    base: str
    transcript: str
    actions: list[_Action]


def read_texts(text: str, plan: Plan) -> ItemTexts:
    """The texts for a plan, from an answer with or without words around it.

    Raises:
      InputError: there is no such object in it, or one that does not fit the plan, or texts that no prompt may have.
    """
    found = next((found for found in find_json_objects(text) if "actions" in found), None)
    if found is None:
        raise InputError("The answer holds no JSON object with the key actions.")
    answer = parse_json(json.dumps(found), "the answer", _Answer)
    if len(answer.actions) != len(plan.windows):
        raise InputError(f"The answer has {len(answer.actions)} actions; accepted are {len(plan.windows)}, as asked.")
    pairs = list(zip(plan.windows, answer.actions, strict=True))
    prompt = StructuredPrompt(answer.base, tuple(Phase(*window, action.action) for window, action in pairs))
    transcript = clean(answer.transcript)
    problems = [*_lengths(prompt, transcript), *_oddities(prompt, transcript, answer)]
    if problems:
        raise refusal("The answer:", problems)
    prompt.check(SECONDS)
    parts = [action.body_part for action in answer.actions]
    phases = [BenchPhase(p.start, p.end, p.action, part) for p, part in zip(prompt.phases, parts, strict=True)]
    return ItemTexts(prompt.base, transcript, tuple(phases))


def _lengths(prompt: StructuredPrompt, transcript: str) -> Iterator[str]:
    texts = [("the base", prompt.base, BASE_WORDS, BASE_LETTERS)]
    texts += [(f"action {k}", p.action, ACTION_WORDS, ACTION_LETTERS) for k, p in enumerate(prompt.phases, start=1)]
    for name, text, (fewest, most), letters in texts:
        words = len(text.split())
        if not fewest <= words <= most or len(text) > letters:
            accepted = f"accepted are {fewest} to {most} words and at most {letters} letters"
            yield f"{name} has {words} words and {len(text)} letters, {accepted}"
    if len(transcript) > SPOKEN_LETTERS:
        yield f"the transcript has {len(transcript)} letters, accepted are up to {SPOKEN_LETTERS}"


def _oddities(prompt: StructuredPrompt, transcript: str, answer: _Answer) -> Iterator[str]:
    if not tells(transcript):
        yield "the transcript is empty"
    if transcript.startswith("-"):  # the program that speaks would take it for an option
        yield "the transcript begins with a hyphen"
    for (k, first), (n, second) in combinations(enumerate(prompt.phases, start=1), 2):
        if first.action.casefold() == second.action.casefold():
            yield f"actions {k} and {n} are alike"
    for number, action in enumerate(answer.actions, start=1):
        if action.body_part not in BODY_PARTS:
            accepted = ", ".join(BODY_PARTS)
            yield f"the body_part of action {number} is {shown(action.body_part)}, accepted is one of {accepted}"
