"""What a step of each training is shown, drawn from kept heads by the batch's own generator.

B samples, C clips, T keyframes of one, N tokens of a keyframe, s pixels a side.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int32

from actavatar_jax.avatarsync.units.table import PAD, unit_table
from actavatar_jax.puppets.avatarsync.kept import Kept
from actavatar_jax.training.parts import Draw


def draw_pictures(heads: Sequence[Kept], batch: int) -> Draw:
    """Frames of different clips, for the tokenizer: `pixels` uint8 [B, s, s, 3]."""

    def draw(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        return {"pixels": np.stack([_any(rng, head.frames) for head in _clips(rng, heads, batch)])}

    return draw


def draw_windows(
    heads: Sequence[Kept], tokens: Sequence[Int32[np.ndarray, "_ N"]], batch: int, count: int, pixels: bool
) -> Draw:
    """For the keyframe transformer: of every clip `count` keyframes and another one as the portrait.

    Keyframes do not see each other, so any will do; of the units they may see others', so all are there. With `pixels`
    keyframes are there as pictures too.
    """
    most, nothing = max(len(head.units) for head in heads), unit_table().id(PAD)

    def draw(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        chosen = rng.choice(len(heads), batch, replace=len(heads) < batch)
        rows = []
        for clip in chosen:
            head, coded = heads[clip], tokens[clip]
            portrait, *places = rng.choice(len(coded), 1 + count, replace=len(coded) <= count)
            units = np.pad(head.units, (0, most - len(head.units)), constant_values=nothing)
            row = {"reference": coded[portrait], "units": units, "places": np.int32(places), "tokens": coded[places]}
            rows.append(row | ({"pixels": head.frames[head.numbers[places]]} if pixels else {}))
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    return draw


def draw_intervals(heads: Sequence[Kept], batch: int, longest: int) -> Draw:
    """For the interpolator: two frames 2 to `longest` apart, one between them, and where it lies.

    Half of the intervals run backwards, and half of the pictures are mirrored; time is turned with them.
    """

    def draw(rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        rows = []
        for head in _clips(rng, heads, batch):
            length = int(rng.integers(2, min(longest, len(head.frames) - 1) + 1))
            start, inside = int(rng.integers(0, len(head.frames) - length)), int(rng.integers(1, length))
            frames, t = head.frames[[start, start + inside, start + length]], inside / length
            if rng.random() < 0.5:
                frames, t = frames[::-1], 1 - t
            if rng.random() < 0.5:
                frames = frames[:, :, ::-1]
            rows.append((*frames, np.float32(t)))
        return dict(zip(("first", "between", "second", "t"), map(np.stack, zip(*rows, strict=True)), strict=True))

    return draw


def _clips(rng: np.random.Generator, heads: Sequence[Kept], batch: int) -> list[Kept]:
    return [heads[number] for number in rng.choice(len(heads), batch, replace=len(heads) < batch)]


def _any(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    return np.asarray(frames[rng.integers(len(frames))])
