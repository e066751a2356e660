"""Structured prompts: what is true throughout a clip, and what happens in which window of it.

`P = {base, {P_k, T_k}}` (ActAvatar eq. 1). The text encoder reads one flat string, `render()`; each token belongs to
the base (phase id 0) or to one phase (1..K), `tokenise()`. Times are seconds from the first frame of the clip.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from actavatar_jax.checks import typed
from actavatar_jax.errors import InputError
from actavatar_jax.prompt.reading import Parts, file_named, is_document, read_file, read_mapping, read_string
from actavatar_jax.prompt.text import clean, seconds, tells
from actavatar_jax.prompt.timeline import draw_timeline
from actavatar_jax.prompt.tokens import MAX_TOKENS, TokenisedPrompt, Tokenizer, length_problem, tokenise_blocks
from actavatar_jax.prompt.windows import split
from actavatar_jax.storage import Place, StorePath, named, refusal, shown

MAX_PHASES = 8  # rows of the phase table beside the base's row
SHORTEST_PHASE = 0.3  # seconds; what a crop leaves of a phase below this shows no action
OVERHANG = 0.16  # seconds (one latent frame) a window may reach past the end: 49 frames, asked for as 2 s, last 1.96 s
LONGEST = 1e6  # seconds; a later time is a mistake

Seconds = float | int

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """One action in its window, `start` and `end` in seconds. Values are checked by `StructuredPrompt.check`."""

    start: Seconds
    end: Seconds
    action: str

    def __post_init__(self):
        for name in ("start", "end"):
            object.__setattr__(self, name, typed(f"{name} of a phase", getattr(self, name), float))
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
        if not isinstance(self.phases, list | tuple) or not all(isinstance(phase, Phase) for phase in self.phases):
            raise InputError(f"The phases of a prompt are {shown(self.phases)}; accepted are those of the class Phase.")
        object.__setattr__(self, "base", clean(self.base))
        object.__setattr__(self, "phases", tuple(sorted(self.phases, key=lambda phase: phase.start)))

    # ---- in

    @classmethod
    def parse(cls, text: str, duration: Seconds | None = None) -> "StructuredPrompt":
        """Read `base. [0-2s] Action.`, `base. Phase-1 [0-2s]: Action.` and the other notations of `prompt.notation`.

        Text without windows is all base, and brackets that are prose (`[smiling]`) stay text. Text that is JSON or YAML
        of `from_dict`'s form is read as that. `duration` (seconds of the clip) gives shares such as `[0%-40%]` a
        meaning. Raises InputError naming what is wrong, such as every malformed stamp (`[2-s]`).
        """
        return cls._of(read_string(text, "The prompt", duration), "The prompt")

    @classmethod
    def from_dict(cls, data: Any) -> "StructuredPrompt":
        """Read `{"base": str, "phases": [{"start": s, "end": s, "action": str}, ...]}`; InputError names all faults."""
        return cls._of(read_mapping(data), "The prompt")

    @classmethod
    def load(cls, path: str | Place, duration: Seconds | None = None) -> "StructuredPrompt":
        """Read a `.json` or `.yaml` file of `from_dict`'s form, or any other text file in one of `parse`'s forms."""
        source = f"prompt file {named(path)}"
        try:
            return cls._of(read_file(path if isinstance(path, StorePath) else Path(path), source, duration), source)
        except InputError as error:
            if named(path) in str(error):
                raise
            raise InputError(f"{source}: {error}") from error

    @classmethod
    def coerce(
        cls, source: "str | Mapping[str, Any] | Path | StructuredPrompt", duration: Seconds | None = None
    ) -> "StructuredPrompt":
        """A prompt from what a caller has: a prompt, a dict, a path, the name of a .json/.yaml/.txt file, or text."""
        match source:
            case StructuredPrompt():
                return source
            case Path():
                return cls.load(source, duration)
            case str():
                file = file_named(source)
                return cls.parse(source, duration) if file is None else cls.load(file, duration)
            case _:
                return cls.from_dict(source)

    @classmethod
    def for_clip(
        cls,
        source: "str | Mapping[str, Any] | Path | StructuredPrompt",
        duration: Seconds,
        most_phases: int = MAX_PHASES,
    ) -> "StructuredPrompt":
        """As `coerce` and `check`, for a clip of `duration` seconds; `remarks` on what was read become a warning."""
        prompt = cls.coerce(source, duration)
        prompt.check(duration, most_phases=most_phases)
        if prompt is not source and (remarks := prompt.remarks()):
            log.warning("%s.", "; ".join(remarks))
        return prompt

    @classmethod
    def _of(cls, parts: Parts, source: str) -> "StructuredPrompt":
        prompt = cls("missing" if parts.base is None else parts.base, tuple(Phase(*row) for row in parts.phases))
        if parts.problems:
            raise refusal(f"{source}:", parts.problems + prompt._problems())
        return prompt

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

    def tokenise(
        self, tokenizer: Tokenizer, max_length: int = MAX_TOKENS, strict: bool = True, anchors: bool = True
    ) -> TokenisedPrompt:
        """Token ids with the phase of each, at most `max_length` of them with the end token, which comes last.

        They are those of `render`; without `anchors` of the bare texts, the base and the actions one by one, for models
        that know time in another form (`prompt.forms`).

        A prompt that is too long raises InputError with the count of every block; with `strict=False` (for sampling)
        the end of the base text is cut instead, with a warning: cutting the tail would delete whole phases.
        """
        if len(self.phases) > MAX_PHASES:
            raise InputError(f"the prompt has {len(self.phases)} phases; at most {MAX_PHASES} are accepted.")
        blocks = self.blocks if anchors else (self.base, *(phase.action for phase in self.phases))
        return tokenise_blocks(blocks, tokenizer, max_length, strict, apart=not anchors)

    def timeline(self, duration: Seconds | None = None) -> str:
        """A text chart: the base and every phase under a time axis of `duration` seconds (default: the last end)."""
        last = max((phase.end for phase in self.phases), default=5.0)
        duration = last if duration is None else duration
        rows = [("base", 0.0, duration, self.base)]
        rows += [(f"Phase-{k} {p.stamp}", p.start, p.end, p.action) for k, p in enumerate(self.phases, start=1)]
        return draw_timeline(rows, max(last, duration))

    # ---- right or wrong

    def check(
        self,
        duration: Seconds | None = None,
        tokenizer: Tokenizer | None = None,
        most_phases: int = MAX_PHASES,
    ) -> None:
        """Raise one InputError that lists the problems, if there are any, as many as a sentence has room for.

        `duration` (seconds of the clip) adds the windows that reach past its end, `tokenizer` the length in tokens. A
        model takes `MAX_PHASES` at once, a video that is made in parts more.
        """
        problems = self._problems(duration, most_phases)
        for name, text in self._texts():
            found = split(text)
            if len(found.blocks) > 1 or found.problems:
                problems.append(f"{name} holds a time stamp or phase label inside its text")
        if is_document(f"{self.base} "):
            problems.append("the base text begins as JSON or YAML does")
        if tokenizer is not None and (problem := length_problem(self.blocks, tokenizer, MAX_TOKENS)):
            problems.append(problem)
        if problems:
            raise refusal("The prompt:", problems)

    def remarks(self) -> list[str]:
        """What may be read otherwise than it was meant, though nothing is wrong with it."""
        loose = [shown(words) for _, text in self._texts() for words in split(text).loose]
        remarks = [] if self.phases else ["no windows found in the prompt; the whole clip has one description"]
        if loose:
            more = f" and {len(loose) - 3:,} more" if len(loose) > 3 else ""
            remarks.append(f"read as words, not as windows such as [0-2s]: {', '.join(loose[:3])}{more}")
        return remarks

    def _texts(self) -> list[tuple[str, str]]:
        return [("the base text", self.base), *((f"phase {k}", phase.action) for k, phase in enumerate(self.phases, 1))]

    def _problems(self, duration: Seconds | None = None, most_phases: int = MAX_PHASES) -> list[str]:
        problems = []
        if not tells(self.base):
            problems.append("the base text is empty")
        if len(self.phases) > most_phases:
            problems.append(f"there are {len(self.phases)} phases, at most {most_phases} are accepted")
        for k, phase in enumerate(self.phases, start=1):
            name = f"phase {k} [{phase.start:g}-{phase.end:g}s]"
            if not (abs(phase.start) < LONGEST and abs(phase.end) < LONGEST):
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
            if not tells(phase.action):
                problems.append(f"{name} has no action text")
        return problems
