"""Whether a draft can be what happens in the clip: one check per kind of fault, with advice to the model.

Each check is `(draft, scene) -> faults of its kind`.
"""

import math
import re
from itertools import combinations, pairwise

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import Phase, StructuredPrompt
from data_pipelines.annotation.reading import Fault
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import (
    ACTION_LETTERS,
    ACTION_WORDS,
    BASE_LETTERS,
    BASE_WORDS,
    MOVING_PARTS,
    SHORTEST_ACT,
    STILL,
    Act,
    Draft,
)

_LATER = r"then|afterwards?|later|finally|eventually|subsequently|initially|at first|at the (start|beginning|end)"
_TIME_WORDS = re.compile(rf"(?i)\b({_LATER}|([\d.]+|one|two|three|four|five) ?(s|secs?|seconds?))\b")
_NAMES = {
    "hands": re.compile(r"(?i)\b(hands?|fingers?|palms?|fists?|thumbs?|wrists?)\b"),
    "legs": re.compile(r"(?i)\b(legs?|knees?|thighs?|ankles?|foot|feet|toes?|shoes?|walk(s|ing)?|kick(s|ing)?)\b"),
}


def find_frames_for_seconds(draft: Draft, scene: Scene) -> list[Fault]:
    """Whole numbers far past the end are numbers of frames."""
    times = [time for act in draft.acts for time in (act.start, act.end)]
    last = max(times)
    if last > 1.5 * scene.seconds and last <= 2 * scene.seconds * FPS and all(time == int(time) for time in times):
        return [Fault("frames for seconds", f"Times must be seconds from 0 to {scene.end:g}, not numbers of frames.")]
    return []


def find_outside(draft: Draft, scene: Scene) -> list[Fault]:
    if find_frames_for_seconds(draft, scene):
        return []
    return [
        Fault("outside the clip", f"{_name(act)} is not between 0 and {scene.end:g}, the end of the clip.")
        for act in draft.acts
        if act.start < 0 or act.end > scene.end
    ]


def find_too_short(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("short window", f"{_name(act)} lasts less than {SHORTEST_ACT} s; leave it out or join it to another.")
        for act in draft.acts
        if act.end - act.start < SHORTEST_ACT - 1e-6
    ]


def find_overlapping(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("overlapping windows", f"{_name(first)} and {_name(second)} overlap.")
        for first, second in pairwise(draft.acts)
        if second.start < first.end - 1e-6
    ]


def find_wordy(draft: Draft, scene: Scene) -> list[Fault]:
    texts = [("The base", draft.base, BASE_WORDS, BASE_LETTERS)]
    texts += [(f"The action '{act.action[:40]}'", act.action, ACTION_WORDS, ACTION_LETTERS) for act in draft.acts]
    return [
        Fault("text length", f"{name} must have {fewest} to {most} words and at most {letters} letters.")
        for name, text, (fewest, most), letters in texts
        if not fewest <= len(text.split()) <= most or len(text) > letters
    ]


def find_time_in_base(draft: Draft, scene: Scene) -> list[Fault]:
    found = _TIME_WORDS.search(draft.base)
    return [Fault("time in the base", f"The base must hold throughout, without '{found.group()}'.")] if found else []


def find_repeated(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("duplicated action", f"{_name(first)} and {_name(second)} have the same action; say how they differ.")
        for first, second in combinations(draft.acts, 2)
        if first.words == second.words
    ]


def find_invisible(draft: Draft, scene: Scene) -> list[Fault]:
    return [
        Fault("invisible part", f"{_name(act)} names {part}, which the picture does not show.")
        for act in draft.acts
        for part in sorted(scene.hidden)
        if _NAMES[part].search(act.action)
    ]


def find_motionless(draft: Draft, scene: Scene) -> list[Fault]:
    """Acts of hands and arms in windows where the clip's hands move least; of unseen hands nothing is known."""
    if scene.motion is None or np.isnan(scene.motion).all():
        return []
    least, rate = np.nanpercentile(scene.motion, STILL), len(scene.motion) / scene.seconds
    faults = []
    for act in draft.acts:
        start, end = (min(max(time, 0.0), scene.seconds) for time in (act.start, act.end))
        window = scene.motion[int(start * rate) : math.ceil(end * rate)]
        seen = window[~np.isnan(window)]
        if act.body_part in MOVING_PARTS and len(seen) and seen.mean() < least:
            faults.append(
                Fault("no motion", f"{_name(act)}: the hands rest there; correct its window or leave it out.")
            )
    return faults


def find_unfit(draft: Draft, scene: Scene) -> list[Fault]:
    """Texts that the text encoder would not take: with stamps inside, or with too many tokens."""
    faults = []
    try:
        StructuredPrompt(draft.base, tuple(Phase(0.0, 1.0, act.action) for act in draft.acts)).check()
    except InputError as error:
        faults.append(Fault("stamp in a text", str(error)))
    try:
        if scene.tokenizer is not None:
            draft.to_prompt().tokenise(scene.tokenizer)
    except InputError as error:
        faults.append(Fault("too many tokens", f"{error} Use fewer words."))
    return faults


# A fault of times makes the later ones meaningless, so the first fault is the clip's reason.
CHECKS = (
    find_frames_for_seconds,
    find_outside,
    find_too_short,
    find_overlapping,
    find_wordy,
    find_time_in_base,
    find_repeated,
    find_invisible,
    find_motionless,
    find_unfit,
)


def _name(act: Act) -> str:
    return f"[{act.start:g}-{act.end:g}s] '{act.action[:40]}'"
