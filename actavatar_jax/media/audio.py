"""Speech in: any audio file, the sound of a video, or an array; as recorded, or as mono 16 kHz samples."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLE_RATE
from actavatar_jax.media.decoding import decode_sound
from actavatar_jax.media.sound import Sound

SHORTEST = 0.2  # seconds


def load_sound(source: str | Path | np.ndarray | Sound, num_frames: int | None = None) -> Sound:
    """The sound of an audio file or a video, at its own rate and with its own channels, or of an array [n] at 16 kHz.

    num_frames: cut, or filled up with silence, to as many frames of video; no more of a file is then read. Rates and
    channels that AAC does not have become others, see `decode_sound`. Integers are scaled by their range; where a peak
    exceeds 1, all is scaled down to it. Of a file that breaks off, what decodes is used and one line logged, since a
    header alone cannot tell a cut file from a wrong estimate. Refused with an InputError: no audio stream, undecodable,
    less than 0.2 s, NaN or infinite values.
    """
    if num_frames is None:
        return _load(source)
    # A second more tells whether it goes on, and whether it is long enough.
    return _load(source, max_seconds=Fraction(num_frames, FPS) + 1).fit(num_frames)


def load_audio(source: str | Path | np.ndarray | Sound) -> Float32[np.ndarray, " n"]:
    """Mono 16 kHz samples in [-1, 1] of all that `load_sound` takes; channels are averaged."""
    return _load(source, rate=SAMPLE_RATE, channels=1).to_audio()


def fit_audio(samples: Float32[np.ndarray, " n"], num_frames: int) -> Float32[np.ndarray, " m"]:
    """Exactly `num_frames` frames of 16 kHz sound, 640 samples each: cut, or filled up with silence, and logged."""
    return Sound(samples[:, None], SAMPLE_RATE).fit(num_frames).samples[:, 0]


def decode_audio(
    path: Path, origin: Fraction | None = None, limit: int | None = None
) -> Float32[np.ndarray, " n"] | None:
    """Mono 16 kHz samples of a media file's first audio stream, None where it has none.

    origin: see `decode_sound`. limit: number of samples after which to stop.
    """
    sound = decode_sound(path, origin, None if limit is None else Fraction(limit, SAMPLE_RATE), SAMPLE_RATE, 1)
    return None if sound is None else sound.samples[:, 0]


def _load(source: str | Path | np.ndarray | Sound, **decoding) -> Sound:
    if isinstance(source, str | Path):
        name, sound = f"Speech {source}", decode_sound(Path(source), **decoding)
        if sound is None:
            raise InputError(f"{name} has no audio stream; a file with sound is needed.")
    else:
        name = "The speech"
        sound = Sound.coerce(source, name)
    if not len(sound.samples):
        raise InputError(f"{name} holds no samples; at least {SHORTEST} s are needed.")
    if len(sound.samples) < SHORTEST * sound.rate:
        seconds = len(sound.samples) / sound.rate
        raise InputError(f"{name} lasts {seconds:.3f} s; at least {SHORTEST} s are needed.")
    return sound
