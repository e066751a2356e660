"""What a server sends back: a chat completion, and the answer in it."""

from dataclasses import dataclass, fields
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import parse_json


@dataclass(frozen=True)
class Usage:
    """Tokens that were read and written, as the server counts them; 0 where it does not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """What the model said, and why it stopped: 'stop', 'length' (cut off), 'content_filter' (refused)."""

    text: str
    finish: str
    model: str  # as the server calls it
    fingerprint: str | None  # of the server's version, where it tells one
    usage: Usage = Usage()


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
    usage: Any = None


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
        _usage(completion.usage),
    )


def _usage(said: Any) -> Usage:
    """What is no count counts as none: an answer is not lost for it."""
    given = said if isinstance(said, dict) else {}
    counts = (given.get(field.name) for field in fields(Usage))
    return Usage(*(count if type(count) is int and count >= 0 else 0 for count in counts))
