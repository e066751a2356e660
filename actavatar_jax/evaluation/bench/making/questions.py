"""What the model is asked for: texts that fit a portrait, and actions that fit windows which are given."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.chat import Message, picture_part, text_part
from actavatar_jax.evaluation.bench.items import SECONDS
from actavatar_jax.evaluation.bench.kept import digest_text
from actavatar_jax.evaluation.bench.making.plans import Plan

BODY_PARTS = ("hands", "arms", "head", "torso", "face", "whole_body")
BASE_WORDS, ACTION_WORDS = (5, 60), (3, 30)
SPOKEN = (2.5, SECONDS)  # seconds that the transcript may last when it is spoken

_ROLE = (
    "You write the scripts of short clips, with which a film crew tries out whether a person acts on cue. You answer "
    "with one JSON object and nothing around it."
)
_TASK = (
    "Above is a picture of a person: the first frame of a clip of {seconds:g} s. In the clip the person talks to the "
    "camera, and does this meanwhile:\n{windows}\n"
    "At least one of the actions is of this kind: {category}. The others may be of any kind. "
    "Answer with a JSON object of three keys.\n"
    "base: {base[0]} to {base[1]} words of English on what holds throughout the clip: the person's looks and clothing, "
    "the place, that the person is speaking, in which mood. No action, and no word about time.\n"
    'transcript: what the person says, in the language "{language}", in everyday words that fit the picture and the '
    "actions. To say it takes about {aim:g} s: some 12 words of English, or 20 characters of Chinese. Only words that "
    "are spoken: no stage directions, no quotation marks, no hyphen in front.\n"
    "actions: a list with one object for each of the {count} windows above, in their order. Its keys: action, one "
    "sentence of {action[0]} to {action[1]} words of English in the present tense, on movement that can be seen, that "
    "is possible from the pose in the picture, that stays inside the frame and takes about as long as its window; it "
    "says exactly which hand, which fingers, which direction or how many times, as somebody else will judge by it "
    "whether it was done; no times in it, and no two actions alike. body_part, what moves most: one of {parts}."
)
_AGAIN = "That cannot be used: {problem} Answer again with the whole corrected JSON object and nothing around it."

_ACTION: dict[str, Any] = {
    "type": "object",
    "properties": {"action": {"type": "string"}, "body_part": {"type": "string", "enum": list(BODY_PARTS)}},
    "required": ["action", "body_part"],
    "additionalProperties": False,
}

PROMPT_VERSION = f"1-{digest_text(json.dumps([_ROLE, _TASK, _AGAIN, _ACTION, BASE_WORDS, ACTION_WORDS, SPOKEN]))[:8]}"


def answer_schema(actions: int) -> dict[str, Any]:
    """The JSON schema of an answer with so many actions; lengths are checked when it is read."""
    return {
        "type": "object",
        "properties": {
            "base": {"type": "string"},
            "transcript": {"type": "string"},
            "actions": {"type": "array", "items": _ACTION, "minItems": actions, "maxItems": actions},
        },
        "required": ["base", "transcript", "actions"],
        "additionalProperties": False,
    }


def make_question(portrait: UInt8[np.ndarray, "h w 3"], plan: Plan, before: Sequence[str] = ()) -> list[Message]:
    """The conversation about one item. before: the last answer and what was wrong with it, if there was one."""
    asked = [picture_part(portrait), text_part(task_text(plan))]
    messages = [{"role": "system", "content": _ROLE}, {"role": "user", "content": asked}]
    if before:
        said, problem = before
        messages += [
            {"role": "assistant", "content": said or "(nothing)"},
            {"role": "user", "content": _AGAIN.format(problem=problem)},
        ]
    return messages


def task_text(plan: Plan) -> str:
    """What is written below the portrait."""
    windows = "\n".join(
        f"action {number}, from {start:g} to {end:g} s" for number, (start, end) in enumerate(plan.windows, start=1)
    )
    return _TASK.format(
        seconds=SECONDS,
        windows=windows,
        category=plan.category,
        base=BASE_WORDS,
        language=plan.language,
        aim=sum(SPOKEN) / 2 + 0.5,
        count=len(plan.windows),
        action=ACTION_WORDS,
        parts=", ".join(BODY_PARTS),
    )
