"""Speech in: any audio file, the sound of a video, or an array; as recorded, or as mono 16 kHz samples."""

from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLE_RATE
from actavatar_jax.media.decoding import decode_audio, decode_sound
from actavatar_jax.media.sound import Sound
from actavatar_jax.storage import named

SHORTEST = 0.2  # seconds


def load_sound(source: str | Path | np.ndarray | Sound, num_frames: int | None = None, fps: int = FPS) -> Sound:
    """The sound of an audio file or a video, at its own rate and with its own channels, or of an array [n] at 16 kHz.

    num_frames: cut, or filled up with silence, to as many frames of video at `fps`; no more is then read. Rates and
    channels that AAC does not have become others, see `decode_sound`. Integers are scaled by their range; where a peak
    exceeds 1, all is scaled down to it. Of a file that breaks off, what decodes is used and one line logged, since a
    header alone cannot tell a cut file from a wrong estimate. Refused with an InputError: no audio stream, undecodable,
    less than 0.2 s, NaN or infinite values.
    """
    # A second more tells whether it goes on, and whether it is long enough.
    most = None if num_frames is None else Fraction(num_frames, fps) + 1
    from_file = isinstance(source, str | Path)
    sound = decode_sound(Path(source), max_seconds=most) if from_file else Sound.coerce(source, "The speech")
    _check_length(None if sound is None else len(sound.samples) / sound.rate, source)
    return sound if num_frames is None else sound.fit(num_frames, fps)


def load_audio(
    source: str | Path | np.ndarray | Sound, max_seconds: float | int | None = None
) -> Float32[np.ndarray, " n"]:
    """Mono 16 kHz samples in [-1, 1] of all that `load_sound` takes; how channels become one: see `channels`.

    max_seconds: no more of a file is read.
    """
    limit = None if max_seconds is None else round(max_seconds * SAMPLE_RATE)
    if not isinstance(source, str | Path):
        return load_sound(source).to_audio()[:limit]
    samples = decode_audio(Path(source), limit=limit)
    _check_length(None if samples is None else len(samples) / SAMPLE_RATE, source)
    return samples


def fit_audio(samples: Float32[np.ndarray, " n"], num_frames: int) -> Float32[np.ndarray, " m"]:
    """Exactly `num_frames` frames of 16 kHz sound, 640 samples each: cut, or filled up with silence, and logged."""
    return Sound(samples[:, None], SAMPLE_RATE).fit(num_frames).samples[:, 0]


def _check_length(seconds: float | None, source: str | Path | np.ndarray | Sound) -> None:
    """seconds: None where there is no sound at all."""
    name = f"Speech {named(source)}" if isinstance(source, str | Path) else "The speech"
    if seconds is None:
        raise InputError(f"{name} has no audio stream; a file with sound is needed.")
    if not seconds:
        raise InputError(f"{name} holds no samples; at least {SHORTEST} s are needed.")
    if seconds < SHORTEST:
        raise InputError(f"{name} lasts {seconds:.3f} s; at least {SHORTEST} s are needed.")
