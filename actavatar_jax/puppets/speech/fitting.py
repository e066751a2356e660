"""Spoken texts that are exactly as long as a clip."""

from dataclasses import replace

import numpy as np

from actavatar_jax.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.speech import PAUSE, Phoneme, Utterance, join_pauses

LEAD = 0.3  # seconds of silence before the speech of a fitted clip, at most
FADE = 0.01  # seconds over which cut speech ends, against a click


def fit(utterance: Utterance, frames: int, rng: np.random.Generator | None = None) -> Utterance:
    """Exactly `frames` frames of sound: a short lead of silence, the speech, cut or filled up with silence.

    The lead is drawn from 0 to 0.3 s (0.1 s without `rng`), less where the speech would otherwise be cut.
    """
    wanted = frames * SAMPLES_PER_FRAME
    lead = 0.1 if rng is None else float(rng.uniform(0, LEAD))
    before, room = round(lead * SAMPLE_RATE), wanted - len(utterance.samples)
    if room >= 0:
        before = min(before, room)
    samples = np.pad(utterance.samples, (before, max(room - before, 0)))[:wanted]
    if before > room:
        fade = min(round(FADE * SAMPLE_RATE), wanted)
        samples[wanted - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    lead, length = before / SAMPLE_RATE, wanted / SAMPLE_RATE
    words = tuple(start + lead for start in utterance.words if start + lead < length)
    return Utterance(samples, _shifted(utterance.phonemes, lead, length), words)


def _shifted(phonemes: tuple[Phoneme, ...], lead: float, length: float) -> tuple[Phoneme, ...]:
    """The phonemes `lead` seconds later, from 0 to `length` with pauses before and after them."""
    moved = [Phoneme(PAUSE, 0.0, lead)]
    moved += [Phoneme(p.symbol, p.start + lead, p.end + lead) for p in phonemes]
    moved += [Phoneme(PAUSE, moved[-1].end, max(length, moved[-1].end))]
    cut = [replace(p, end=min(p.end, length)) for p in moved if p.start < min(p.end, length)]
    return tuple(join_pauses(cut))
