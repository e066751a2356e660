"""Structured prompts: what is true throughout a clip, and what happens in which window of it.

`P = {base, {P_k, T_k}}` (ActAvatar eq. 1). The text encoder reads one flat string, `render()`; each token belongs to
the base (phase id 0) or to one phase (1..K), `tokenise()`. Times are seconds from the first frame of the clip.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float

from actavatar_jax.errors import InputError
from actavatar_jax.prompt.text import clean, seconds, split
from actavatar_jax.prompt.timeline import draw_timeline
from actavatar_jax.prompt.tokens import MAX_TOKENS, TokenisedPrompt, Tokenizer, length_problem, tokenise_blocks

MAX_PHASES = 8  # rows of the phase table beside the base's row
SHORTEST_PHASE = 0.3  # seconds; what a crop leaves of a phase below this shows no action
OVERHANG = 0.16  # seconds (one latent frame) a window may reach past the end: 49 frames, asked for as 2 s, last 1.96 s

Seconds = float | int


@dataclass(frozen=True)
class Phase:
    """One action in its window, `start` and `end` in seconds. Values are checked by `StructuredPrompt.check`."""

    start: Seconds
    end: Seconds
    action: str

    def __post_init__(self):
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "end", float(self.end))
        object.__setattr__(self, "action", clean(self.action))

    @property
    def stamp(self) -> str:
        """The anchor in text: seconds, integers when exact, else one decimal."""
        return f"[{seconds(self.start)}-{seconds(self.end)}s]"


@dataclass(frozen=True)
class StructuredPrompt:
    """A base description and phases in the order of their start. Texts are kept clean; windows may overlap."""

    base: str
    phases: tuple[Phase, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "base", clean(self.base))
        object.__setattr__(self, "phases", tuple(sorted(self.phases, key=lambda phase: phase.start)))

    # ---- in

    @classmethod
    def parse(cls, text: str) -> "StructuredPrompt":
        """Read `base. [0-2s] Action.`, `base. [00:00-00:02] Action.` or `base. Phase-1 [0-2s]: Action.`.

        Text without stamps is all base, and brackets that are prose (`[smiling]`) stay text. Raises InputError naming
        every malformed stamp (`[2-s]`).
        """
        blocks, problems = split(clean(text))
        prompt = cls(blocks[0][1], tuple(Phase(*window, action) for window, action in blocks[1:]))
        if problems:
            _refuse(problems + prompt._problems())
        return prompt

    @classmethod
    def from_dict(cls, data: Any) -> "StructuredPrompt":
        """Read `{"base": str, "phases": [{"start": s, "end": s, "action": str}, ...]}`; InputError names all faults."""
        problems = _shape_problems(data, "the prompt", {"base": str}, {"phases": list})
        base = data.get("base") if isinstance(data, Mapping) else None
        rows = data.get("phases") if isinstance(data, Mapping) else None
        phases = []
        for number, row in enumerate(rows if isinstance(rows, list) else [], start=1):
            faults = _shape_problems(row, f"entry {number} of 'phases'", {"start": float, "end": float, "action": str})
            problems += faults
            if not faults:
                phases.append(Phase(row["start"], row["end"], row["action"]))
        prompt = cls(base if isinstance(base, str) else "missing", tuple(phases))
        if problems:
            _refuse(problems + prompt._problems())
        return prompt

    @classmethod
    def load(cls, path: str | Path) -> "StructuredPrompt":
        """Read a `.json` or `.yaml` file of `from_dict`'s form, or any other text file in one of `parse`'s forms."""
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8-sig")
            match path.suffix.lower():
                case ".json":
                    return cls.from_dict(json.loads(text))
                case ".yaml" | ".yml":
                    return cls.from_dict(yaml.safe_load(text))
                case _:
                    return cls.parse(text)
        except OSError as error:
            raise InputError(f"prompt file {path} cannot be read ({error.strerror}).") from error
        except UnicodeDecodeError as error:
            raise InputError(f"prompt file {path} is not UTF-8 text.") from error
        except (json.JSONDecodeError, yaml.YAMLError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"prompt file {path} is not valid {path.suffix[1:].upper()}: {reason}.") from error
        except InputError as error:
            raise InputError(f"prompt file {path}: {error}") from error

    @classmethod
    def coerce(cls, source: "str | Mapping[str, Any] | Path | StructuredPrompt") -> "StructuredPrompt":
        """A prompt from what a caller has: a prompt, a dict, a path, the name of a .json/.yaml/.txt file, or text."""
        match source:
            case StructuredPrompt():
                return source
            case Path():
                return cls.load(source)
            case str():
                is_name = re.fullmatch(r"(?i)[^\n]+\.(json|ya?ml|txt)", source.strip())
                is_file = is_name and (" " not in source.strip() or Path(source.strip()).is_file())
                return cls.load(source.strip()) if is_file else cls.parse(source)
            case _:
                return cls.from_dict(source)

    # ---- out

    def to_dict(self) -> dict[str, Any]:
        """The form `from_dict` reads, ready for JSON."""
        return {
            "base": self.base,
            "phases": [{"start": p.start, "end": p.end, "action": p.action} for p in self.phases],
        }

    @property
    def blocks(self) -> tuple[str, ...]:
        """The base, then `Phase-k [a-bs]: action` for each phase: the anchor is part of its block."""
        return (
            self.base,
            *(f"Phase-{k} {phase.stamp}: {phase.action}".strip() for k, phase in enumerate(self.phases, start=1)),
        )

    def render(self) -> str:
        """The one flat string the text encoder reads; `parse` reads it back."""
        return " ".join(filter(None, self.blocks))

    def windows(self, max_phases: int = MAX_PHASES) -> Float[np.ndarray, "P 2"]:
        """Start and end of every phase in seconds, zero rows beyond the last; InputError if they are too many."""
        if len(self.phases) > max_phases:
            raise InputError(f"the prompt has {len(self.phases)} phases; at most {max_phases} are accepted.")
        windows = np.zeros((max_phases, 2), np.float32)
        for row, phase in zip(windows, self.phases, strict=False):
            row[:] = phase.start, phase.end
        return windows

    def window(self, start: Seconds, end: Seconds) -> "StructuredPrompt":
        """The prompt of a clip cut from `start` to `end`: windows re-timed and clipped, those below 0.3 s dropped."""
        if not (0 <= start < end < math.inf):
            raise InputError(f"a clip cannot be cut from {start} to {end} s: 0 <= start < end is needed.")
        cut = (Phase(max(p.start - start, 0.0), min(p.end, end) - start, p.action) for p in self.phases)
        return type(self)(self.base, tuple(p for p in cut if p.end - p.start >= SHORTEST_PHASE - 1e-6))

    def tokenise(self, tokenizer: Tokenizer, max_length: int = MAX_TOKENS, strict: bool = True) -> TokenisedPrompt:
        """Token ids with the phase of each, at most `max_length` of them with the end token, which comes last.

        A prompt that is too long raises InputError with the count of every block; with `strict=False` (for sampling)
        the end of the base text is cut instead, with a warning: cutting the tail would delete whole phases.
        """
        if len(self.phases) > MAX_PHASES:
            raise InputError(f"the prompt has {len(self.phases)} phases; at most {MAX_PHASES} are accepted.")
        return tokenise_blocks(self.blocks, tokenizer, max_length, strict)

    def timeline(self, duration: Seconds | None = None) -> str:
        """A text chart: the base and every phase under a time axis of `duration` seconds (default: the last end)."""
        last = max((phase.end for phase in self.phases), default=5.0)
        duration = last if duration is None else duration
        rows = [("base", 0.0, duration, self.base)]
        rows += [(f"Phase-{k} {p.stamp}", p.start, p.end, p.action) for k, p in enumerate(self.phases, start=1)]
        return draw_timeline(rows, max(last, duration))

    # ---- right or wrong

    def check(self, duration: Seconds | None = None, tokenizer: Tokenizer | None = None) -> None:
        """Raise one InputError that lists every problem, if there is any.

        `duration` (seconds of the clip) adds the windows that reach past its end, `tokenizer` the length in tokens.
        """
        problems = self._problems(duration)
        for name, text in [
            ("the base text", self.base),
            *((f"phase {k}", p.action) for k, p in enumerate(self.phases, 1)),
        ]:
            blocks, faults = split(text)
            if len(blocks) > 1 or faults:
                problems.append(f"{name} holds a time stamp or phase label inside its text")
        if tokenizer is not None and (problem := length_problem(self.blocks, tokenizer, MAX_TOKENS)):
            problems.append(problem)
        if problems:
            _refuse(problems)

    def _problems(self, duration: Seconds | None = None) -> list[str]:
        problems = []
        if not self.base:
            problems.append("the base text is empty")
        if len(self.phases) > MAX_PHASES:
            problems.append(f"there are {len(self.phases)} phases, at most {MAX_PHASES} are accepted")
        for k, phase in enumerate(self.phases, start=1):
            name = f"phase {k} [{phase.start:g}-{phase.end:g}s]"
            if not (math.isfinite(phase.start) and math.isfinite(phase.end)):
                problems.append(f"{name} has a time that is no finite number of seconds")
                continue
            if phase.start < 0:
                problems.append(f"{name} starts before the clip, at a negative time")
            if phase.end == phase.start:
                problems.append(f"{name} has no length")
            if phase.end < phase.start:
                problems.append(f"{name} is reversed, it ends before it starts")
            if duration is not None and phase.end > duration + OVERHANG:
                problems.append(f"{name} reaches past the end of the clip at {duration:g} s")
            if not phase.action:
                problems.append(f"{name} has no action text")
        return problems


# ---- dicts and errors


def _shape_problems(
    data: Any, name: str, required: dict[str, type], optional: dict[str, type] | None = None
) -> list[str]:
    """What is wrong with the keys and types of one mapping; `float` stands for any finite number."""
    if not isinstance(data, Mapping):
        return [f"{name} is {type(data).__name__}, not a mapping with the keys {', '.join(required)}"]
    wanted = required | (optional or {})
    problems = [f"{name} has no key '{key}'" for key in required if key not in data]
    problems += [
        f"{name} has the unknown key {key!r} (known: {', '.join(wanted)})" for key in data if key not in wanted
    ]
    said = {str: "text", float: "a finite number of seconds", list: "a list"}
    for key, kind in wanted.items():
        if key in data and not (_is_number(data[key]) if kind is float else isinstance(data[key], kind)):
            problems.append(f"{name}: '{key}' is {data[key]!r}, not {said[kind]}")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _refuse(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        raise InputError(f"{problems[0]}.")
    raise InputError(
        f"{len(problems)} problems: " + "; ".join(f"({i}) {text}" for i, text in enumerate(problems, 1)) + "."
    )
