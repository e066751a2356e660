"""Whether a draft can be what happens in the clip: repairs for small slips, one check per kind of fault."""

import math
import re
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise

import numpy as np
from jaxtyping import Float

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import Phase, StructuredPrompt, Tokenizer
from data_pipelines.annotation.client import Answer
from data_pipelines.annotation.reading import Fault, read
from data_pipelines.annotation.schema import (
    ACTION_LETTERS,
    ACTION_WORDS,
    BASE_LETTERS,
    BASE_WORDS,
    SHORTEST_ACT,
    Act,
    Draft,
)
from data_pipelines.annotation.snapping import snap

OVERHANG = 0.3  # seconds past the end that are a slip, and cut off
TOUCHING = 0.5  # seconds between two acts of the same words that are one act
STILL = 30  # percentile of the clip's motion below which a window shows no movement of the hands
MOVING_PARTS = ("hands", "arms", "whole_body")  # what the motion profile measures

_LATER = r"then|afterwards?|later|finally|eventually|subsequently|initially|at first|at the (start|beginning|end)"
_TIME_WORDS = re.compile(rf"(?i)\b({_LATER}|([\d.]+|one|two|three|four|five) ?(s|secs?|seconds?))\b")
_NAMES = {
    "hands": re.compile(r"(?i)\b(hands?|fingers?|palms?|fists?|thumbs?|wrists?)\b"),
    "legs": re.compile(r"(?i)\b(legs?|knees?|thighs?|ankles?|foot|feet|toes?|shoes?|walk(s|ing)?|kick(s|ing)?)\b"),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """What is known of a clip from elsewhere."""

    seconds: float
    motion: Float[np.ndarray, " n"] | None = None  # speed of the hands, n equal steps from 0 to `seconds`
    hidden: frozenset[str] = field(default_factory=frozenset)  # of 'hands' and 'legs', what the picture does not show
    tokenizer: Tokenizer | None = None  # the text encoder's

    @property
    def end(self) -> float:
        """The end in tenths of a second, rounded up: the last frame may be part of an act."""
        return math.ceil(self.seconds * 10 - 1e-6) / 10


@dataclass(frozen=True)
class Verdict:
    """A draft that holds, put right where it needed to be, or the faults of one that does not."""

    draft: Draft | None
    faults: tuple[Fault, ...]
    repairs: tuple[str, ...]


def judge(answer: Answer, scene: Scene) -> Verdict:
    """Reads, repairs and checks an answer; borders of a draft without fault are moved to where the motion rests."""
    draft, faults, repairs = read(answer)
    if draft is None:
        return Verdict(None, faults, repairs)
    for repair, name in ((tidy, "rounded"), (clamp, "clamped"), (merge, "merged"), (separate, "overlap")):
        mended = repair(draft, scene)
        if mended != draft:
            draft, repairs = mended, (*repairs, name)
    faults = tuple(fault for check in CHECKS for fault in check(draft, scene))
    if faults:
        return Verdict(None, faults, repairs)
    if scene.motion is not None:
        snapped = snap(draft, scene.motion, scene.seconds)
        if snapped != draft:
            draft, repairs = snapped, (*repairs, "snapped")
    return Verdict(draft, (), repairs)


# ---- repairs


def tidy(draft: Draft, scene: Scene) -> Draft:
    """Acts in the order of their starts, times in tenths of a second."""
    acts = (replace(act, start=_tenths(act.start), end=_tenths(act.end)) for act in draft.acts)
    return replace(draft, acts=tuple(sorted(acts, key=lambda act: (act.start, act.end))))


def clamp(draft: Draft, scene: Scene) -> Draft:
    """Windows that reach a little past the end of the clip end with it."""
    acts = (
        replace(act, end=scene.end) if scene.end < act.end <= scene.end + OVERHANG + 1e-6 else act for act in draft.acts
    )
    return replace(draft, acts=tuple(acts))


def merge(draft: Draft, scene: Scene) -> Draft:
    """Acts of the same words, one right after the other, are one."""
    acts: list[Act] = []
    for act in draft.acts:
        if acts and _words(acts[-1]) == _words(act) and abs(act.start - acts[-1].end) <= TOUCHING:
            speech = f"{acts[-1].speech} {act.speech}".strip()
            acts[-1] = replace(acts[-1], end=max(act.end, acts[-1].end), speech=speech)
        else:
            acts.append(act)
    return replace(draft, acts=tuple(acts))


def separate(draft: Draft, scene: Scene) -> Draft:
    """Overlaps of at most half the shorter act are cut in the middle."""
    acts = list(draft.acts)
    for i, (first, second) in enumerate(pairwise(draft.acts)):
        overlap = first.end - second.start
        if 0 < overlap <= min(first.end - first.start, second.end - second.start) / 2 and first.end < second.end:
            middle = _tenths(second.start + overlap / 2)
            acts[i], acts[i + 1] = replace(acts[i], end=middle), replace(acts[i + 1], start=middle)
    return replace(draft, acts=tuple(acts))


# ---- checks: each returns the faults of its kind, with advice to the model


def frames_for_seconds(draft: Draft, scene: Scene) -> list[Fault]:
    """Whole numbers far past the end are numbers of frames."""
    times = [time for act in draft.acts for time in (act.start, act.end)]
    last = max(times)
    if last > 1.5 * scene.seconds and last <= 2 * scene.seconds * FPS and all(time == int(time) for time in times):
        return [Fault("frames for seconds", f"Times must be seconds from 0 to {scene.end:g}, not numbers of frames.")]
    return []


def outside(draft: Draft, scene: Scene) -> list[Fault]:
    if frames_for_seconds(draft, scene):
        return []
    return [
        Fault("outside the clip", f"{_name(act)} is not between 0 and {scene.end:g}, the end of the clip.")
        for act in draft.acts
        if act.start < 0 or act.end > scene.end
    ]


def too_short(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("short window", f"{_name(act)} lasts less than {SHORTEST_ACT} s; leave it out or join it to another.")
        for act in draft.acts
        if act.end - act.start < SHORTEST_ACT - 1e-6
    ]


def overlapping(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("overlapping windows", f"{_name(first)} and {_name(second)} overlap.")
        for first, second in pairwise(draft.acts)
        if second.start < first.end - 1e-6
    ]


def wordy(draft: Draft, scene: Scene) -> list[Fault]:
    texts = [("The base", draft.base, BASE_WORDS, BASE_LETTERS)]
    texts += [(f"The action '{act.action[:40]}'", act.action, ACTION_WORDS, ACTION_LETTERS) for act in draft.acts]
    return [
        Fault("text length", f"{name} must have {fewest} to {most} words and at most {letters} letters.")
        for name, text, (fewest, most), letters in texts
        if not fewest <= len(text.split()) <= most or len(text) > letters
    ]


def time_in_base(draft: Draft, scene: Scene) -> list[Fault]:
    found = _TIME_WORDS.search(draft.base)
    return [Fault("time in the base", f"The base must hold throughout, without '{found.group()}'.")] if found else []


def repeated(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("duplicated action", f"{_name(first)} and {_name(second)} have the same action; say how they differ.")
        for first, second in combinations(draft.acts, 2)
        if _words(first) == _words(second)
    ]


def invisible(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("invisible part", f"{_name(act)} names {part}, which the picture does not show.")
        for act in draft.acts
        for part in sorted(scene.hidden)
        if _NAMES[part].search(act.action)
    ]


def motionless(draft: Draft, scene: Scene) -> list[Fault]:
    """Acts of hands and arms in windows where the clip's hands move least."""
    if scene.motion is None:
        return []
    least, rate = np.percentile(scene.motion, STILL), len(scene.motion) / scene.seconds
    faults = []
    for act in draft.acts:
        window = scene.motion[int(act.start * rate) : math.ceil(act.end * rate)]
        if act.body_part in MOVING_PARTS and len(window) and window.mean() < least:
            faults.append(
                Fault("no motion", f"{_name(act)}: the hands rest there; correct its window or leave it out.")
            )
    return faults


def unfit(draft: Draft, scene: Scene) -> list[Fault]:
    """Texts that the text encoder would not take: with stamps inside, or with too many tokens."""
    faults = []
    try:
        StructuredPrompt(draft.base, tuple(Phase(0.0, 1.0, act.action) for act in draft.acts)).check()
    except InputError as error:
        faults.append(Fault("stamp in a text", str(error)))
    try:
        if scene.tokenizer is not None:
            draft.prompt().tokenise(scene.tokenizer)
    except InputError as error:
        faults.append(Fault("too many tokens", f"{error} Use fewer words."))
    return faults


# A fault of times makes the later ones meaningless, so the first fault is the clip's reason.
CHECKS = (
    frames_for_seconds,
    outside,
    too_short,
    overlapping,
    wordy,
    time_in_base,
    repeated,
    invisible,
    motionless,
    unfit,
)


def _tenths(time: float) -> float:
    return round(time, 1) if math.isfinite(time) else time


def _name(act: Act) -> str:
    return f"[{act.start:g}-{act.end:g}s] '{act.action[:40]}'"


def _words(act: Act) -> str:
    return " ".join(re.findall(r"\w+", act.action.casefold()))
