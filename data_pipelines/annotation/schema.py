"""What the model is asked for: one JSON object of a base description and acts in their windows, and its limits."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actavatar_jax.prompt import Phase, StructuredPrompt

MOST_ACTS = 6
SHORTEST_ACT = 0.6  # seconds
BASE_WORDS = (15, 60)
ACTION_WORDS = (4, 25)
BASE_LETTERS, ACTION_LETTERS = 500, 200  # bounds the tokens of a text without spaces too
BODY_PARTS = ("hands", "arms", "head", "torso", "face", "whole_body")
MOVING_PARTS = ("hands", "arms", "whole_body")  # what the motion profile measures
STILL = 30  # percentile of a clip's motion up to which the hands rest

_ACT = {
    "type": "object",
    "properties": {
        "start": {"type": "number"},
        "end": {"type": "number"},
        "action": {"type": "string"},
        "body_part": {"type": "string", "enum": list(BODY_PARTS)},
        "speech": {"type": "string"},
    },
    "required": ["start", "end", "action", "body_part", "speech"],
    "additionalProperties": False,
}
# Lengths and ranges that many constrained decoders do not know are left to the checks.
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "base": {"type": "string"},
        "phases": {"type": "array", "items": _ACT, "minItems": 1, "maxItems": MOST_ACTS},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["base", "phases", "confidence"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Act:
    """One phase as the model describes it, times in seconds."""

    start: float
    end: float
    action: str
    body_part: str
    speech: str

    @property
    def words(self) -> str:
        """The action without case and punctuation, to be compared."""
        return " ".join(re.findall(r"\w+", self.action.casefold()))


@dataclass(frozen=True)
class Draft:
    """One answer that has the right shape; whether its contents can be is for the checks to say."""

    base: str
    acts: tuple[Act, ...]
    confidence: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Draft":
        """The draft in an object that fits SCHEMA."""
        return cls(data["base"], tuple(Act(**act) for act in data["phases"]), data["confidence"])

    def to_prompt(self) -> StructuredPrompt:
        return StructuredPrompt(self.base, tuple(Phase(act.start, act.end, act.action) for act in self.acts))
