"""What the judge is asked: the reference, the frames with their times, the phases with their windows, nothing else."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.chat import Message, picture_part, text_part
from actavatar_jax.evaluation.bench.items import BenchPhase
from actavatar_jax.evaluation.bench.judge.frames import LONG_SIDE, RATE
from actavatar_jax.evaluation.bench.kept import digest_text

TOLERANCE = 0.3  # seconds

_ROLE = (
    "You judge clips of one person for a film crew: whether the person does what was asked for, when it was asked for, "
    "and how well it looks. You are strict, you judge by what the frames show and not by what is likely, and you "
    "answer with one JSON object and nothing around it."
)
_TASK = (
    "Above are a reference picture of the person and frames of a silent clip of {seconds:g} s, each after its time. "
    "The person was asked to do this:\n{phases}\n"
    'Answer with a JSON object of two keys. "phases": a list with one object for each of the {count} actions above, in '
    'their order. "clip_comment": one sentence on the clip. The keys of an action\'s object, in this order:\n'
    "observed: what the person really does in the window, in one sentence, written before any score.\n"
    "observed_start, observed_end: the seconds between which the action that was asked for is seen, wherever in the "
    "clip that is; null for both if it is not seen.\n"
    "ao: 1 if the action can be recognised and is seen within its window, give or take {tolerance:g} s, else 0.\n"
    "aa: 0 to 10, how exactly the action is the one asked for: 0 absent or another action, 5 partly right, such as the "
    "wrong hand, number or extent, 10 exact. At most 2 if ao is 0.\n"
    "tc: 0 to 10, its timing: 10 if start and end are within {tolerance:g} s of the window's, 5 if about half of the "
    "action lies in the window, 0 if none does.\n"
    "aq: 0 to 10, how natural and smooth it moves, without sliding and popping, whether or not it is what was asked "
    "for.\n"
    "hc: 0 to 10, the hands: fingers can be counted, are of the right number, not fused and not blurred; null if no "
    "hand is to be seen and none is needed."
)

_NUMBER, _NULLABLE = {"type": "number"}, {"type": ["number", "null"]}
_PHASE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "observed": {"type": "string"},
        "observed_start": _NULLABLE,
        "observed_end": _NULLABLE,
        "ao": {"type": "integer", "enum": [0, 1]},
        "aa": _NUMBER,
        "tc": _NUMBER,
        "aq": _NUMBER,
        "hc": _NULLABLE,
    },
}
_PHASE |= {"required": list(_PHASE["properties"]), "additionalProperties": False}

PROMPT_VERSION = f"1-{digest_text(json.dumps([_ROLE, _TASK, _PHASE, TOLERANCE, RATE, LONG_SIDE]))[:8]}"


def answer_schema(phases: int) -> dict[str, Any]:
    """The JSON schema of an answer about so many phases; ranges are checked when it is read."""
    return {
        "type": "object",
        "properties": {
            "phases": {"type": "array", "items": _PHASE, "minItems": phases, "maxItems": phases},
            "clip_comment": {"type": "string"},
        },
        "required": ["phases", "clip_comment"],
        "additionalProperties": False,
    }


def make_question(
    reference: UInt8[np.ndarray, "H W 3"],
    frames: Iterable[tuple[float, UInt8[np.ndarray, "_ _ 3"]]],
    phases: Sequence[BenchPhase],
    seconds: float,
) -> list[Message]:
    """The conversation about one clip in one run."""
    parts = [text_part("the reference picture"), picture_part(reference)]
    for time, frame in frames:
        parts += [text_part(f"t = {time:.2f} s"), picture_part(frame)]
    parts.append(text_part(task_text(phases, seconds)))
    return [{"role": "system", "content": _ROLE}, {"role": "user", "content": parts}]


def task_text(phases: Sequence[BenchPhase], seconds: float) -> str:
    """What is written below the frames."""
    listed = "\n".join(
        f"{number}. from {phase.start:g} to {phase.end:g} s: {phase.action}"
        for number, phase in enumerate(phases, start=1)
    )
    return _TASK.format(seconds=seconds, phases=listed, count=len(phases), tolerance=TOLERANCE)
