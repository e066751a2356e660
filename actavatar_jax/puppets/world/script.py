"""What happens in a clip: which actions in which windows, and how a prompt tells it."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.puppets.world.actions import ACTIONS, find_action, nearest_action
from actavatar_jax.puppets.world.identity import Number

SHORTEST = 0.5  # seconds of a window; one or two windows get at least twice that where it fits
SINGLE = (1.0, 1.5)  # seconds of the window that is alone in its clip
SHARES = (0.46, 0.26, 0.16, 0.12)  # of clips with 1, 2, 3 and 4 phases, where so many fit
MOST_PHASES = 1000  # that can be drawn; a model takes fewer at once
EASE = 0.2  # seconds from rest to the action and back, inside the window


@dataclass(frozen=True)
class Cue:
    """An action of `ACTIONS` in its window, in seconds from the first frame."""

    start: Number
    end: Number
    action: str

    def strength(self, time: Number) -> float:
        """How far the action is taken up: eases from 0 at the window's start to 1 and back to 0 at its end."""
        ease = min(EASE, (self.end - self.start) / 3)
        ramp = min(max(min(time - self.start, self.end - time) / ease, 0.0), 1.0)
        return ramp * ramp * (3 - 2 * ramp)


def make_script(rng: np.random.Generator, frames: int, grid: Number, max_phases: int) -> tuple[Cue, ...]:
    """Different actions in windows on the grid that do not overlap; none where the clip is too short for one."""
    slots = int((frames + 1) / FPS / grid + 1e-6)  # the last window may end one frame after the last frame
    shortest = math.ceil(SHORTEST / grid - 1e-6)
    most = min(max_phases, slots // shortest)
    if most < 1:
        return ()
    shares = np.array(SHARES[:most]) / sum(SHARES[:most])
    count = int(rng.choice(len(shares), p=shares)) + 1
    names = rng.permutation(list(ACTIONS))[:count]
    windows = _single(rng, slots, grid) if count == 1 else _several(rng, slots, count, shortest)
    return tuple(
        Cue(round(low * grid, 6), round(high * grid, 6), str(name))
        for (low, high), name in zip(windows, names, strict=True)
    )


def make_prompt(rng: np.random.Generator, base: str, cues: tuple[Cue, ...]) -> StructuredPrompt:
    """The structured prompt of a script, every action in one of its wordings."""
    return StructuredPrompt(
        base, tuple(Phase(cue.start, cue.end, str(rng.choice(ACTIONS[cue.action].wordings))) for cue in cues)
    )


def tell_in_order(prompt: StructuredPrompt) -> StructuredPrompt:
    """The same as one description without times: the base, then the actions one after the other."""
    if len(prompt.phases) < 2:
        return StructuredPrompt(" ".join([prompt.base, *(phase.action for phase in prompt.phases)]))
    between = itertools.cycle(("Then", "After that,", "Next,"))
    last = "Then" if len(prompt.phases) == 2 else "Finally,"
    words = ["First,", *itertools.islice(between, len(prompt.phases) - 2), last]
    told = [f"{word} {p.action[:1].lower()}{p.action[1:]}" for word, p in zip(words, prompt.phases, strict=True)]
    return StructuredPrompt(" ".join([prompt.base, *told]))


def read_prompt(prompt: StructuredPrompt, frames: int) -> tuple[Cue, ...]:
    """The cues of a prompt from outside; an InputError for windows outside the clip and for unknown actions."""
    prompt.check(duration=frames / FPS, most_phases=MOST_PHASES)
    cues = []
    for phase in prompt.phases:
        if (name := find_action(phase.action)) is None:
            raise InputError(
                f"Puppets do not know {phase.action!r} or find more than one action in it; the nearest they know is "
                f"{ACTIONS[nearest_action(phase.action)].wordings[0]!r}. They can: {', '.join(ACTIONS)}."
            )
        cues.append(Cue(phase.start, phase.end, name))
    return tuple(cues)


# ---- windows in slots of the grid


def _single(rng: np.random.Generator, slots: int, grid: Number) -> list[tuple[int, int]]:
    low, high = (min(round(seconds / grid), slots) for seconds in SINGLE)
    length = int(rng.integers(low, high + 1))
    start = int(rng.integers(0, slots - length + 1))
    return [(start, start + length)]


def _several(rng: np.random.Generator, slots: int, count: int, shortest: int) -> list[tuple[int, int]]:
    """What is left beside the shortest windows is dealt out at random to gaps and windows."""
    if count == 2 and 4 * shortest <= slots:
        shortest *= 2
    parts = rng.multinomial(slots - count * shortest, np.full(2 * count + 1, 1 / (2 * count + 1)))
    parts[1::2] += shortest
    edges = np.cumsum(parts)
    return [(int(edges[2 * k]), int(edges[2 * k + 1])) for k in range(count)]
