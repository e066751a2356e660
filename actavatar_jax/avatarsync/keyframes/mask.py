"""The Phoneme-Frame Causal Attention Mask, as a function of what a token is.

One sequence holds the units, a start token B, the tokens of the reference, and the frames: `[unit 1..T] [B] [reference
0..N-1] [frame 1] .. [frame T]`. The slots of a frame are `[B'] [token 0..N-2]`: slot n is where token n is told.

This is the definition. The transformer does not build the mask: units see only themselves, the reference sees no unit,
and no frame sees another, so that frames are a batch axis whichever units they see.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped

from actavatar_jax.avatarsync.units.table import PAD, unit_table

UNIT, START, REFERENCE, FRAME = range(4)  # segments


class Slots(NamedTuple):
    """What tokens are: segment, number of the frame or unit (0 elsewhere), position in the segment."""

    segment: Shaped[np.ndarray, "*shape"]
    frame: Shaped[np.ndarray, "*shape"]
    position: Shaped[np.ndarray, "*shape"]


def sequence(frames: int, length: int) -> Slots:
    """The slots of the whole sequence, of `frames` frames of `length` tokens and as many units."""
    each = np.arange(frames)
    return Slots(
        segment=np.repeat([UNIT, START, REFERENCE, FRAME], [frames, 1, length, frames * length]),
        frame=np.concatenate([each, np.zeros(1 + length, int), np.repeat(each, length)]),
        position=np.concatenate([np.zeros(frames + 1, int), np.arange(length), np.tile(np.arange(length), frames)]),
    )


def may_see(query: Slots, key: Slots, visible: str) -> Bool[np.ndarray, "*shape"]:
    """Whether a query may see a key; the two broadcast against each other.

    visible: see `KeyframeConfig`, Appendix A.4 of the paper.
    """
    of = {segment: key.segment == segment for segment in range(4)}
    same, not_later = query.frame == key.frame, key.position <= query.position
    seen = {
        UNIT: of[UNIT] & same,
        START: of[START],
        REFERENCE: of[START] | (of[REFERENCE] & not_later),
        FRAME: of[START]
        | of[REFERENCE]
        | (of[UNIT] & sees_unit(query.frame, key.frame, visible))
        | (of[FRAME] & same & not_later),
    }
    return np.any([(query.segment == segment) & keys for segment, keys in seen.items()], axis=0)


def sees_unit(
    frame: Shaped[np.ndarray, "*shape"], unit: Shaped[np.ndarray, "*other"], visible: str
) -> Bool[np.ndarray, "..."]:
    """Whether a frame sees a unit, by their numbers."""
    before = frame - unit
    return {
        "one_to_one": before == 0,
        "limited": (before == 0) | (before == 1),
        "accumulative": before >= 0,
        "full": np.ones_like(before, bool),
    }[visible]


class Seen(NamedTuple):
    """The units that each frame sees: ids [C, T, U], and which of them there are [C, T, U]."""

    ids: Int[Array, "C T U"]
    there: Bool[Array, "C T U"]


def seen_units(units: Int[Array, "C T"], visible: str) -> Seen:
    """What every frame sees of the units of its clip; one for each frame, `pad` where there is none."""
    count = units.shape[1]
    frame = np.arange(count)
    if visible in ("one_to_one", "limited"):
        index = frame[:, None] - np.arange({"one_to_one": 1, "limited": 2}[visible])[None]
    else:
        index = np.broadcast_to(frame[None], (count, count))
    there = sees_unit(frame[:, None], index, visible) & (index >= 0)
    ids = units[:, np.maximum(index, 0)]
    return Seen(ids, jnp.asarray(there)[None] & (ids != unit_table().id(PAD)))
