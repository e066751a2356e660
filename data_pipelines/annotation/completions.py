"""What a server sends back: a chat completion, and the answer in it."""

from dataclasses import dataclass
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import parse_json


@dataclass(frozen=True)
class Answer:
    """What the model said, and why it stopped: 'stop', 'length' (cut off), 'content_filter' (refused)."""

    text: str
    finish: str
    model: str  # as the server calls it
    fingerprint: str | None  # of the server's version, where it tells one


@dataclass(frozen=True)
class _Message:
    content: str | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class _Choice:
    message: _Message
    finish_reason: str | None = None


@dataclass(frozen=True)
class _Completion:
    choices: list[_Choice]
    model: Any = None
    system_fingerprint: Any = None


def read_completion(body: bytes) -> Answer:
    """The answer in the body of a response; InputError where it is no chat completion."""
    completion = parse_json(body, "what came", _Completion)
    if not completion.choices:
        raise InputError("what came is a chat completion without a choice")
    choice, fingerprint = completion.choices[0], completion.system_fingerprint
    return Answer(
        choice.message.content or choice.message.refusal or "",
        "content_filter" if choice.message.refusal else str(choice.finish_reason),
        str(completion.model),
        None if fingerprint is None else str(fingerprint),
    )
