"""From the text of an answer to a draft: the JSON object in it, in the right shape."""

import re
from dataclasses import dataclass
from typing import Any

from actavatar_jax.chat import Answer
from actavatar_jax.errors import InputError
from actavatar_jax.storage import cut, find_json_objects
from data_pipelines.annotation.schema import ANSWER_SCHEMA, Draft

_DENIAL = re.compile(
    r"(?i)\b(i('m| am) (sorry|unable|not able)|i (cannot|can['’]t|won['’]t)|as an ai\b|unable to (assist|help))"  # noqa: RUF001
)


@dataclass(frozen=True)
class Fault:
    """Why an answer is not accepted: a few words to count by, and a sentence that helps the model do better."""

    reason: str
    message: str


def parse_answer(answer: Answer) -> tuple[Draft | None, tuple[Fault, ...], tuple[str, ...]]:
    """(draft, faults, repairs): the draft is None where there are faults; repairs are what was put right in passing."""
    objects = list(find_json_objects(answer.text))
    data = next((found for found in reversed(objects) if "phases" in found or "base" in found), None)
    if data is None:
        return None, (_missing(answer),), ()
    faults = tuple(Fault("wrong shape", message) for message in _misfits(data))
    if faults:
        return None, faults, ()
    return Draft.from_json(data), (), () if answer.text.strip().startswith("{") and len(objects) == 1 else ("prose",)


def _missing(answer: Answer) -> Fault:
    text = answer.text.strip()
    if answer.finish == "content_filter" or ("{" not in text and _DENIAL.search(text)):
        return Fault("refusal", "You declined. Only visible, harmless body movement is to be described.")
    if not text:
        return Fault("empty", "The answer was empty.")
    if answer.finish == "length":
        return Fault("cut off", "The answer was cut off. Be shorter: fewer phases, fewer words.")
    if "{" in text:
        return Fault(
            "broken JSON", "The answer is not one complete JSON object with the keys base, phases, confidence."
        )
    return Fault("no JSON", "The answer holds no JSON object.")


def _misfits(data: dict[str, Any]) -> list[str]:
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise InputError('checking answers needs jsonschema: pip install "actavatar-jax[data]"') from error
    errors = sorted(Draft202012Validator(ANSWER_SCHEMA).iter_errors(data), key=lambda error: error.json_path)
    return [f"{error.json_path}: {cut(error.message, 200)}" for error in errors]
