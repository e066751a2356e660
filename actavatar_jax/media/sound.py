"""Sound as it was recorded, in a form that an mp4 carries, and what an encoder hears of it."""

import logging
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import soxr
from jaxtyping import Float32, Shaped

from actavatar_jax.errors import InputError
from actavatar_jax.media.channels import fold, merge
from actavatar_jax.media.clock import FPS, SAMPLE_RATE

RATES = tuple(sorted(av.Codec("aac", "w").audio_rates))  # Hz; all are multiples of 25, most of 16
CHANNELS = 1, 2, 6  # mono, stereo, 5.1: of AAC's channels those that players know

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples in [-1, 1], `rate` of them a second in each channel: mono, stereo or 5.1 (in FFmpeg's order).

    InputError where AAC has no such rate or channels. So an mp4 carries every `Sound` as it is, and a frame of video at
    25 a second lasts a whole number of samples.
    """

    samples: Float32[np.ndarray, "n channels"]
    rate: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or self.samples.shape[1] not in CHANNELS:
            shape = ", ".join(map(str, self.samples.shape))
            raise InputError(f"The sound has shape [{shape}]; accepted is [samples, channels] with 1, 2 or 6 channels.")
        if self.rate not in RATES:
            raise InputError(f"The sound has {self.rate} Hz; accepted are {', '.join(map(str, RATES))}.")

    @classmethod
    def coerce(cls, source: Any, name: str = "The sound") -> "Sound":
        """A `Sound`, or an array [n] at 16 kHz; integers are scaled by their range, peaks above 1 down to it.

        InputError, with `name` as its subject, for anything else and for NaN or infinite values.
        """
        if isinstance(source, np.ndarray):
            if source.ndim != 1:
                shape = ", ".join(map(str, source.shape))
                raise InputError(f"{name} has shape [{shape}]; accepted is mono, [samples], at {SAMPLE_RATE} Hz.")
            source = cls(to_float(source, name)[:, None], SAMPLE_RATE)
        if not isinstance(source, cls):
            raise InputError(f"{name} is {type(source).__name__}; accepted is a Sound or an array at {SAMPLE_RATE} Hz.")
        return cls(levelled(source.samples, name), source.rate)

    def to_audio(self) -> Float32[np.ndarray, " m"]:
        """Mono 16 kHz samples in [-1, 1]: channels mixed as in `channels`, then resampled."""
        mono = merge([fold(self.samples)], "The sound")
        mono = mono if self.rate == SAMPLE_RATE else soxr.resample(mono, self.rate, SAMPLE_RATE)
        return levelled(mono, "The sound")

    def fit(self, num_frames: int, fps: int = FPS) -> "Sound":
        """As long as `num_frames` frames of video, 1 or more: cut, or filled up with silence, and logged."""
        if num_frames < 1:
            raise InputError(f"Sound for {num_frames} frames was asked for; at least 1 is needed.")
        wanted, length = num_frames * self.rate // fps, len(self.samples)
        if length > wanted:
            logger.info("sound goes on after %.2f s and is cut there", wanted / self.rate)
        elif length < wanted:
            logger.info("sound of %.2f s filled up with silence to %.2f s", length / self.rate, wanted / self.rate)
        return Sound(np.pad(self.samples[:wanted], ((0, max(0, wanted - length)), (0, 0))), self.rate)


def to_float(samples: Shaped[np.ndarray, "..."], name: str) -> Float32[np.ndarray, "..."]:
    """float32, with the range of an integer type mapped to [-1, 1]; InputError for other types."""
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if np.issubdtype(kind, np.signedinteger):
        return samples.astype(np.float32) / 2.0 ** (8 * kind.itemsize - 1)
    if np.issubdtype(kind, np.floating):
        return samples.astype(np.float32)
    raise InputError(f"{name} has values of type {kind}; accepted are floats in [-1, 1] and signed integers.")


def levelled(samples: Float32[np.ndarray, "..."], name: str) -> Float32[np.ndarray, "..."]:
    """Scaled down where a peak exceeds 1; InputError for NaN and infinite values."""
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))  # NaN where any sample is
    if not np.isfinite(peak):
        raise InputError(f"{name} holds NaN or infinite values; all samples must be finite.")
    return samples / peak if peak > 1 else samples
