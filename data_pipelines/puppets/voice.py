"""A synthesised voice: syllables from pulses through formants, and how far a mouth opens for them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from actavatar_jax.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME

LOUDEST = 0.16  # root mean square that opens the mouth fully
VOWELS = {  # three formants in Hz, as an adult speaks them
    "a": (750, 1250, 2500),
    "e": (500, 1850, 2500),
    "i": (300, 2300, 3000),
    "o": (450, 850, 2400),
    "u": (320, 750, 2300),
}


@dataclass(frozen=True, eq=False)
class Voice:
    """16 kHz samples in [-1, 1] and the mouth opening in [0, 1] of every video frame."""

    samples: Float[np.ndarray, " n"]
    opening: Float[np.ndarray, " F"]


def make_voice(seed: int, frames: int) -> Voice:
    """Speech-like sound for `frames` video frames: phrases of two to five syllables with pauses between them."""
    rng = np.random.default_rng([seed, 2])
    samples = np.zeros(frames * SAMPLES_PER_FRAME)
    pitch = rng.uniform(95, 210)
    position = int(rng.uniform(0, 0.2) * SAMPLE_RATE)
    while position < len(samples):
        for place in np.linspace(1, 0, rng.integers(2, 6)):  # pitch falls towards the end of a phrase
            syllable = _syllable(rng, pitch * (0.88 + 0.22 * place + rng.uniform(-0.04, 0.04)))
            room = samples[position : position + len(syllable)]
            room += syllable[: len(room)]
            position += int(len(syllable) * rng.uniform(0.9, 1.05))
        position += int(rng.uniform(0.2, 0.45) * SAMPLE_RATE)
    samples = np.clip(samples, -1, 1).astype(np.float32)
    return Voice(samples, mouth_opening(samples))


def mouth_opening(samples: Float[np.ndarray, " n"]) -> Float[np.ndarray, " F"]:
    """The smoothed loudness around the middle of every video frame, from 0 to 1."""
    window = np.hanning(2 * SAMPLES_PER_FRAME + 1)[:-1]
    half = SAMPLES_PER_FRAME // 2
    power = np.pad(samples.astype(np.float64) ** 2, (half, half))
    around = np.lib.stride_tricks.sliding_window_view(power, len(window))[::SAMPLES_PER_FRAME]
    loudness = np.sqrt(around @ window / window.sum())
    return np.clip(loudness / LOUDEST, 0, 1).astype(np.float32)


def _syllable(rng: np.random.Generator, pitch: float) -> Float[np.ndarray, " n"]:
    """A short hiss, then pulses at a gliding `pitch` through the resonances of one vowel, swelling and fading."""
    length = int(rng.uniform(0.15, 0.28) * SAMPLE_RATE)
    time = np.linspace(0, 1, length, endpoint=False)
    cycles = np.cumsum(pitch * (1 + 0.12 * np.sin(np.pi * time))) / SAMPLE_RATE
    pulses = np.diff(np.floor(cycles), prepend=0.0)
    formants = VOWELS[str(rng.choice(list(VOWELS)))]
    voiced = np.convolve(pulses, _resonances(formants))[:length]
    swell = np.sin(np.pi * time) ** 0.8
    hiss = rng.standard_normal(length) * np.exp(-time * 18) * np.minimum(time * 60, 1)
    loudness = rng.uniform(0.1, 0.2)
    return loudness * swell * voiced / np.sqrt(np.mean(voiced**2)) + 0.03 * hiss


def _resonances(formants: tuple[int, ...]) -> Float[np.ndarray, " n"]:
    """Impulse response of parallel resonators: one damped sine per formant, weaker and shorter upwards."""
    time = np.arange(int(0.03 * SAMPLE_RATE)) / SAMPLE_RATE
    return sum(
        np.exp(-np.pi * (60 + 40 * k) * time) * np.sin(2 * np.pi * formant * time) / (1 + 1.2 * k)
        for k, formant in enumerate(formants)
    )
