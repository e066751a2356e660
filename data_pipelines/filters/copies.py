"""Groups of clips with nearly the same prints of picture and sound."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

IMAGE_DIFFERS, SOUND_DIFFERS = 4, 60  # most bits, of 64 and 240, in which copies differ; strangers differ in about half


def group_copies(picture_prints: Sequence[str | None], sound_prints: Sequence[str | None]) -> list[int]:
    """The number of each clip's group: copies, and copies of copies, share one; clips without prints are alone."""
    known = [i for i, prints in enumerate(zip(picture_prints, sound_prints, strict=True)) if None not in prints]
    if not known:
        return list(range(len(picture_prints)))
    images, sounds = (_bytes([prints[i] for i in known]) for prints in (picture_prints, sound_prints))
    pairs = np.concatenate([np.zeros((2, 0), int), *_near(images, sounds)], axis=1)
    left, right = np.array(known)[pairs]
    graph = coo_array((np.ones(len(left)), (left, right)), (len(picture_prints), len(picture_prints)))
    return connected_components(graph, directed=False)[1].tolist()


def _near(images: UInt8[np.ndarray, "n 8"], sounds: UInt8[np.ndarray, "n 30"]) -> Iterator[np.ndarray]:
    """Pairs [2, m] of rows whose prints are near.

    Of IMAGE_DIFFERS + 1 pieces of a print at least one is the same in a copy: only clips with an equal piece meet.
    """
    bits = np.unpackbits(images, axis=1)
    for columns in np.array_split(np.arange(bits.shape[1]), IMAGE_DIFFERS + 1):
        keys = bits[:, columns] @ (1 << np.arange(len(columns)))
        order = np.argsort(keys, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            for place, row in enumerate(rows[:-1]):
                others = rows[place + 1 :]
                others = others[_distance(images[row], images[others]) <= IMAGE_DIFFERS]
                others = others[_distance(sounds[row], sounds[others]) <= SOUND_DIFFERS]
                if len(others):
                    yield np.stack([np.full(len(others), row), others])


def _distance(one: UInt8[np.ndarray, " bytes"], many: UInt8[np.ndarray, "n bytes"]) -> np.ndarray:
    return np.bitwise_count(one[None] ^ many).sum(-1)


def _bytes(prints: Sequence[str]) -> UInt8[np.ndarray, "n bytes"]:
    return np.array([list(bytes.fromhex(text)) for text in prints], np.uint8)
