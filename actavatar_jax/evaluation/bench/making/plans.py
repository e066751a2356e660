"""What a new bench asks for, decided by its seed before anything is written: who, of which kind, how often, when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeVar

from actavatar_jax.checks import checked, whole
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench.items import MOST_ITEMS, SECONDS
from actavatar_jax.storage import shown

PHASES = (2, 2, 2, 2, 2, 2, 2, 3, 3, 1)  # actions of each of ten items
CATEGORIES = (
    "one-hand gesture",
    "two-hand gesture",
    "pointing",
    "counting",
    "head movement",
    "posture or body shift",
    "object handling",
    "face-touching or occluding",
)
TENTHS, SHORTEST = round(10 * SECONDS), 8  # tenths of a second: of a clip, and of a window at least

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """An item without its texts. windows: start and end in seconds, in order, without overlaps."""

    number: int
    portrait: Path
    category: str
    language: str
    windows: tuple[tuple[float, float], ...]

    @property
    def id(self) -> str:
        return f"{self.number:04d}_{self.category.replace(' ', '-')}"


@dataclass(frozen=True)
class Composition:
    """How many items, in which languages; the seed decides everything else."""

    items: int = 200
    languages: tuple[str, ...] = ("en",)
    seed: int = 0

    def __post_init__(self) -> None:
        checked("number of items", self.items, int, whole(1, MOST_ITEMS))
        checked("seed", self.seed, int)
        if not all(language.strip() for language in self.languages) or not self.languages:
            raise InputError(f"The languages are {shown(self.languages)}; accepted are names such as en, each once.")
        if len(set(self.languages)) < len(self.languages):
            raise InputError(f"The languages are {shown(self.languages)}; accepted is each of them once.")

    def plan(self, portraits: Sequence[Path]) -> list[Plan]:
        """The items: of every ten as many with each number of actions as `PHASES` has; categories, languages and
        portraits each equally often. More items are these and others behind them.

        Languages are dealt so that every category comes in all of them.
        """
        phases = _deal(PHASES, self.items, Random(f"{self.seed} phases"))
        pictures = _deal(portraits, self.items, Random(f"{self.seed} portraits"))
        plans = []
        for number in range(self.items):
            turn, place = divmod(number, len(CATEGORIES))
            language = self.languages[(turn + place) % len(self.languages)]
            windows = draw_windows(phases[number], Random(f"{self.seed} windows {number}"))
            plans.append(Plan(number, pictures[number], CATEGORIES[place], language, windows))
        return plans


def draw_windows(count: int, random: Random) -> tuple[tuple[float, float], ...]:
    """So many windows on the grid of tenths, from 0.8 s on: all ways to share out the rest are as likely."""
    free = TENTHS - count * SHORTEST
    bars = sorted(random.sample(range(free + 2 * count), 2 * count))
    ends = [bar - before for before, bar in enumerate(bars)]  # of what is free, before each start and each end
    return tuple(((ends[2 * k] + k * SHORTEST) / 10, (ends[2 * k + 1] + (k + 1) * SHORTEST) / 10) for k in range(count))


def _deal(values: Sequence[T], count: int, random: Random) -> list[T]:
    """Round after round of all of them, each shuffled, so that none comes twice more than another."""
    rounds = math.ceil(count / len(values))
    return [value for _ in range(rounds) for value in random.sample(values, len(values))][:count]
