"""Where in a recording its labels are, by the log-probabilities of a recogniser that was trained with CTC.

T frames of the recogniser, V labels, of which one is the blank.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE, Phoneme

HOP, FIELD, RATE = 320, 400, 16_000  # samples from frame to frame, and those that one frame sees; per second
SHORTEST_PAUSE = 0.1  # seconds; recognisers leave gaps between sounds, of which only long and quiet ones are pauses
QUIET = 0.1  # of the median energy where something is said
HALF = HOP / 2 / RATE  # seconds, of a frame


class Span(NamedTuple):
    """A label: its number, and the frames [first, last] in which it is said more probably than not."""

    label: int
    first: int
    last: int


def align_labels(emissions: Float[np.ndarray, "T V"], labels: Sequence[int], blank: int) -> list[Span]:
    """The most probable times of labels that are said in this order: one span for each.

    Args:
      emissions: log-probabilities.
      labels: at least one, none of them the blank.
      blank: its number.

    Raises:
      InputError: more labels than the recording has room for. Between two that are equal there is a blank.
    """
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    needed = len(labels) + sum(one == other for one, other in itertools.pairwise(labels))
    if needed > len(emissions):
        raise InputError(
            f"The text has {len(labels)} sounds, for which a recording of {len(emissions) * HOP / RATE:.2f} s is too "
            "short; accepted is the text that is said in it."
        )
    path = _best_path(emissions[:, states], states)
    frames = [np.flatnonzero(path == 2 * number + 1) for number in range(len(labels))]
    return [Span(label, int(at[0]), int(at[-1])) for label, at in zip(labels, frames, strict=True)]


def _best_path(scores: Float[np.ndarray, "T S"], states: Int[np.ndarray, " S"]) -> Int[np.ndarray, " T"]:
    """Viterbi: from frame to frame a state stays, goes on by one, or by two past a blank between unequal labels."""
    count = len(states)
    skips = np.zeros(count, bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(count, -np.inf)
    best[:2] = scores[0, :2]
    came = np.zeros(scores.shape, np.int8)
    for frame in range(1, len(scores)):
        stay = best
        step = np.concatenate([[-np.inf], best[:-1]])
        skip = np.where(skips, np.concatenate([[-np.inf, -np.inf], best[:-2]]), -np.inf)
        choices = np.stack([stay, step, skip])
        came[frame] = choices.argmax(0)
        best = choices.max(0) + scores[frame]
    path = np.empty(len(scores), int)
    path[-1] = count - 1 if best[-1] >= best[-2] else count - 2
    for frame in range(len(scores) - 1, 0, -1):
        path[frame - 1] = path[frame] - came[frame, path[frame]]
    return path


def hear_labels(emissions: Float[np.ndarray, "T V"], silent: Collection[int]) -> list[Span]:
    """What is said most probably at every frame: runs of one label, without those of `silent`, the blank among them."""
    loudest, spans, frame = emissions.argmax(1), [], 0
    for label, run in itertools.groupby(loudest.tolist()):
        length = len(list(run))
        if label not in silent:
            spans.append(Span(label, frame, frame + length - 1))
        frame += length
    return spans


class Said(NamedTuple):
    """Phonemes that are said from one frame to another, with what share of the time each, and whether they are the
    first of a word."""

    symbols: tuple[str, ...]
    shares: tuple[float, ...]
    first: int
    last: int
    begins_word: bool = False


def to_phonemes(
    said: Sequence[Said], samples: Float[np.ndarray, " n"]
) -> tuple[tuple[Phoneme, ...], tuple[float, ...]]:
    """Phonemes and pauses without gaps from 0 to the end of a recording at 16 kHz, and where words begin, in seconds.

    What lies between two sounds belongs to both, half each, unless it is long and quiet: then it is a pause. So it is
    before the first and behind the last.
    """
    seconds, energy = len(samples) / RATE, _energy(samples)
    loudness = np.concatenate([energy[one.first : one.last + 1] for one in said])
    spans = [(_middle(one.first) - HALF, _middle(one.last) + HALF) for one in said]

    def bound(end: float, start: float, meet: float) -> tuple[float, float]:
        inside = energy[round(end * RATE / HOP) : round(start * RATE / HOP)]
        quiet = start - end >= SHORTEST_PAUSE and np.median(inside) < QUIET * np.median(loudness)
        return (end, start) if quiet else (meet, meet)

    bounds = [
        bound(0.0, spans[0][0], 0.0),
        *(bound(one[1], two[0], (one[1] + two[0]) / 2) for one, two in itertools.pairwise(spans)),
        bound(spans[-1][1], seconds, seconds),
    ]
    words = tuple(bounds[number][1] for number, one in enumerate(said) if one.begins_word)
    return tuple(_laid_out(said, bounds)), words


def _laid_out(said: Sequence[Said], bounds: Sequence[tuple[float, float]]) -> Iterator[Phoneme]:
    """`bounds` are where the one before ends and the one behind begins: unequal around a pause."""
    for number, (stop, start) in enumerate(bounds):
        if stop < start:
            yield Phoneme(PAUSE, stop, start)
        if number < len(said):
            one, end = said[number], bounds[number + 1][0]
            edges = start + np.cumsum([0.0, *one.shares]) / sum(one.shares) * (end - start)
            for symbol, span in zip(one.symbols, itertools.pairwise(edges.tolist()), strict=True):
                yield Phoneme(symbol, *span)


def _middle(frame: int) -> float:
    """Of what a frame sees, in seconds."""
    return (frame * HOP + FIELD / 2) / RATE


def _energy(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " T"]:
    """Mean square of every stretch from frame to frame."""
    padded = np.pad(samples.astype(np.float64), (0, -len(samples) % HOP))
    return (padded.reshape(-1, HOP) ** 2).mean(1)
