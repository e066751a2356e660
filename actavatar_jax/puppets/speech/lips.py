# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""What lips do in each phoneme: how far they open and how wide they are, one value for every video frame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from actavatar_jax.media.clock import FPS
from actavatar_jax.speech import PAUSE, Phoneme, sounds

RESOLUTION = 500  # values per second in which the curves are made; a whole number per frame
BLEND = 0.07  # seconds over which neighbouring sounds blend
CLOSING = 0.04  # seconds in which lips close and open around a closure
SHORTEST_PAUSE = 0.1  # seconds; at shorter ones (glottal stops, word borders) the mouth stays as it is


@dataclass(frozen=True, eq=False)
class Visemes:
    """Lips per video frame: `opening` from 0 shut to 1 wide open, `width` from 0 rounded to 1 spread."""

    opening: Float[np.ndarray, " F"]
    width: Float[np.ndarray, " F"]


LIPS = {  # sounds: (opening, width)
    "aɑ": (1.0, 0.6),
    "æ": (0.95, 0.8),
    "ɐʌ": (0.8, 0.55),
    "ɒɔ": (0.8, 0.25),
    "ɛ": (0.7, 0.8),
    "œɜ": (0.6, 0.35),
    "o": (0.55, 0.15),
    "e": (0.55, 0.9),
    "əɚ": (0.5, 0.45),
    "ø": (0.5, 0.2),
    "ɪᵻ": (0.45, 0.85),
    "i": (0.35, 1.0),
    "ʊʏ": (0.35, 0.2),
    "uʉy": (0.3, 0.05),
    "h": (0.35, 0.5),
    "kɡŋxʁʔ": (0.3, 0.55),
    "l": (0.3, 0.6),
    "jç": (0.25, 0.9),
    "rɹ": (0.25, 0.3),
    "tdnɾθð": (0.2, 0.65),
    "ʃʒ": (0.2, 0.2),
    "sz": (0.15, 0.75),
    "wʍ": (0.15, 0.0),
    "fv": (0.08, 0.6),
    "pbm": (0.0, 0.5),
}
SOUNDS = {sound: lips for group, lips in LIPS.items() for sound in group}
SHUT, UNKNOWN = (0.0, 0.5), (0.3, 0.5)


def visemes(phonemes: Iterable[Phoneme], frames: int) -> Visemes:
    """Lips for `frames` frames: frame i is the mean from i / 25 s to (i + 1) / 25 s; shut where nothing is said.

    Sounds blend into their neighbours over 70 ms. Pauses and p, b, m are closures: lips are fully shut in the frame of
    their middle, however short they are.
    """
    steps = RESOLUTION // FPS
    curves = np.tile(np.array(SHUT), (frames * steps, 1))
    phonemes = tuple(phonemes)
    for start, end, lips in _targets(phonemes):
        curves[_step(start) : _step(end)] = lips
    opening, width = _blended(curves).T
    closures = [phoneme for phoneme in phonemes if _is_closure(phoneme)]
    opening = (opening * _freedom(closures, frames * steps)).reshape(frames, steps).mean(1)
    for closure in closures:
        middle = int((closure.start + closure.end) / 2 * FPS)
        opening[middle : middle + 1] = 0
    return Visemes(opening.astype(np.float32), width.reshape(frames, steps).mean(1).astype(np.float32))


def is_stressed(symbol: str) -> bool:
    """Whether the phoneme carries the main stress of its word."""
    return "\u02c8" in symbol


def is_open_vowel(symbol: str) -> bool:
    """Whether the phoneme begins with one of the widest mouths."""
    return sounds(symbol)[:1] in ([vowel] for vowel in "aɑæ")


# ---- parts


def _targets(phonemes: tuple[Phoneme, ...]) -> Iterator[tuple[float, float, tuple[float, float]]]:
    """(start, end, lips) in seconds; a short pause keeps the lips of the sound before it."""
    lips = SHUT
    for phoneme in phonemes:
        if phoneme.symbol == PAUSE:
            lips = SHUT if _is_closure(phoneme) else lips
            yield phoneme.start, phoneme.end, lips
            continue
        parts = sounds(phoneme.symbol) or [phoneme.symbol]
        length = (phoneme.end - phoneme.start) / len(parts)
        for index, sound in enumerate(parts):
            lips = SOUNDS.get(sound, UNKNOWN)
            yield phoneme.start + index * length, phoneme.start + (index + 1) * length, lips


def _is_closure(phoneme: Phoneme) -> bool:
    if phoneme.symbol == PAUSE:
        return phoneme.end - phoneme.start >= SHORTEST_PAUSE
    return any(SOUNDS.get(sound, UNKNOWN)[0] == 0 for sound in sounds(phoneme.symbol)[:1])


def _blended(curves: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
    kernel = np.hanning(round(BLEND * RESOLUTION) + 2)[1:-1]
    kernel /= kernel.sum()
    before = len(kernel) // 2
    padded = np.pad(curves, ((before, len(kernel) - 1 - before), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


def _freedom(closures: Iterable[Phoneme], count: int) -> Float[np.ndarray, " N"]:
    """0 in closures, rising to 1 within CLOSING seconds around them."""
    times = (np.arange(count) + 0.5) / RESOLUTION
    free = np.ones(count)
    for closure in closures:
        distance = np.maximum(closure.start - times, times - closure.end)
        free = np.minimum(free, np.clip(distance / CLOSING, 0, 1))
    return free


def _step(seconds: float) -> int:
    return round(seconds * RESOLUTION)
