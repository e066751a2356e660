"""Pieces of sound where their time stamps say they are heard."""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from actavatar_jax.media.clock import can_bridge, check_step
from actavatar_jax.media.notes import warn_once
from actavatar_jax.media.pieces import Piece
from actavatar_jax.storage import named

SLACK = Fraction(1, 25)  # seconds that sound may be off its time stamps before it is moved: they may be rounded


def place_pieces(pieces: Iterator[Piece], origin: Fraction | None, path: Path) -> Iterator[Piece]:
    """The pieces without holes and overlaps: sample i is heard within 40 ms of origin + i / rate seconds.

    origin: default is the first piece's time stamp; what is before is left out. Where sound and time stamps are further
    apart, because the clock of the recording ran fast or slow or because sound is missing or there twice, silence is
    put in or sound left out until they agree. Time stamps that begin anew, as in recordings that were put one behind
    the other, are an InputError by `check_step` where there is an origin to keep to, else the parts are joined. What
    was done is logged, each in one line.
    """
    keeps, position, slack, changes = origin is not None, 0, SLACK, Counter()
    name = f"The sound of {named(path)}"
    try:
        for piece in pieces:
            time, rate, samples = piece.time, piece.rate, piece.samples
            origin = time if origin is None else origin
            ahead = 0 if time is None or origin is None else round((time - origin) * rate) - position
            if position and not keeps and not can_bridge(Fraction(ahead, rate)):
                origin, ahead = origin + Fraction(ahead, rate), 0
                changes["parts"] += 1
            if position == 0 and ahead < 0:
                samples = samples[-ahead:]
            elif position == 0 or abs(ahead) > slack * rate:
                here = origin + Fraction(position, rate)
                check_step(name, here, here + Fraction(ahead, rate))
                if ahead > 0:
                    yield Piece(None, rate, piece.names, np.zeros((ahead, samples.shape[1]), np.float32))
                if position and ahead:
                    changes["silence"] += max(ahead, 0) / rate
                    changes["left out"] += min(max(-ahead, 0), len(samples)) / rate
                    changes["places"] += slack > 0
                position += max(ahead, 0)
                samples = samples[max(-ahead, 0) :]
            slack = SLACK if position == 0 or len(samples) else 0  # what is there twice is left out to its end
            yield Piece(None, rate, piece.names, samples)
            position += len(samples)
    finally:
        if changes["parts"]:
            warn_once(f"{name} has time stamps that begin anew; its {changes['parts'] + 1} parts are joined")
        if changes["places"]:
            moved = f"{changes['silence']:.2f} s of silence put in and {changes['left out']:.2f} s of sound left out"
            warn_once(f"{name} does not go with its time stamps: {moved}, at {changes['places']} places")
