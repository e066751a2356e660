"""Groups of four frames out of drawn clips, in batches that follow from their number and the seed alone.

G groups of four frames in a clip, N groups in a batch.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import grain
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.puppets.codec.settings import MOST_NOISE, Settings


class Example(NamedTuple):
    """A clip in groups of four frames after its first; of a finished model also their latents."""

    first: UInt8[np.ndarray, "h w 3"]
    frames: UInt8[np.ndarray, "G 4 h w 3"]
    mouth: Bool[np.ndarray, "G 4 h w"]  # pixels around the mouth
    hands: Bool[np.ndarray, "G 4 h w"]
    made: Float32[np.ndarray, "G H W C"] | None = None  # as the model makes them
    true: Float32[np.ndarray, "G H W C"] | None = None


class Batch(NamedTuple):
    """Groups of different clips; without latents the codec is to make them itself."""

    first: UInt8[np.ndarray, "N h w 3"]
    frames: UInt8[np.ndarray, "N 4 h w 3"]
    mouth: Bool[np.ndarray, "N 4 h w"]
    hands: Bool[np.ndarray, "N 4 h w"]
    latents: Float32[np.ndarray, "N H W C"] | None


Examples = Callable[[int], Iterator[Example]]  # the clips from a number on: of each number always the same


class Batches(grain.DatasetIterator):
    """Batch number s, counted from 0, is of groups of a window of clips that moves on as fast as it is used up.

    Every clip is taken from about as often as it has groups.
    """

    def __init__(self, examples: Examples, settings: Settings):
        super().__init__()
        self.examples, self.settings = examples, settings
        self.set_state({"number": 0, "groups": 0})

    def get_state(self) -> dict[str, int]:
        return {"number": self.number, "groups": self.groups}

    def set_state(self, state: dict[str, int]) -> None:
        self.number, self.groups = state["number"], state["groups"]  # groups of every clip: 0 before one was seen
        self.window: deque[Example] = deque()
        self.oldest = self._oldest()
        self.upcoming: Iterator[Example] | None = None

    def __next__(self) -> Batch:
        self._move_window()
        rng = np.random.default_rng([self.settings.seed, self.number])
        chosen = rng.choice(self.settings.pool * self.groups, self.settings.batch, replace=False)
        drawn = [self._group(rng, *divmod(int(number), self.groups)) for number in chosen]
        self.number += 1
        *pictures, latents = zip(*drawn, strict=True)
        return Batch(*map(np.stack, pictures), None if latents[0] is None else np.stack(latents))

    def _oldest(self) -> int:
        """Number of the first clip of the window."""
        return self.number and self.number * self.settings.batch // self.groups

    def _move_window(self) -> None:
        self.upcoming = self.upcoming or self.examples(self.oldest)
        while self.oldest < self._oldest():
            self.window.popleft()
            self.oldest += 1
        while len(self.window) < self.settings.pool:
            self.window.append(self._next_example())

    def _next_example(self) -> Example:
        example = next(self.upcoming, None)
        if example is None:
            raise InputError(
                f"The examples end before clip {self.oldest + len(self.window)}; a codec's training needs clips "
                "without end."
            )
        self.groups = self.groups or len(example.frames)
        if self.settings.batch > self.settings.pool * self.groups:
            raise InputError(
                f"A batch of {self.settings.batch} groups is more than {self.settings.pool} clips of {self.groups} "
                "groups hold; set a smaller batch or a larger pool."
            )
        shapes, others = (
            [part.shape for part in one if part is not None]
            for one in (example, self.window[0] if self.window else example)
        )
        if shapes != others or len(example.frames) != self.groups:
            raise InputError(
                f"Clip {self.oldest + len(self.window)} has arrays of {shapes}, the one before of {others}; "
                "a codec's training takes clips of one shape."
            )
        return example

    def _group(self, rng: np.random.Generator, clip: int, group: int) -> tuple[np.ndarray | None, ...]:
        """The parts of a `Batch`, of one group."""
        example = self.window[clip]
        latents = None if example.made is None else example.made[group]
        if latents is not None and rng.random() < self.settings.clean_share:
            noise = rng.standard_normal(latents.shape, np.float32)
            latents = example.true[group] + np.float32(rng.uniform(0, MOST_NOISE)) * noise
        return example.first, example.frames[group], example.mouth[group], example.hands[group], latents
