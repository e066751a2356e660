"""How much of a clip is speech: by Silero's detector, or by pitch and loudness where its model is not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import binary_closing

from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.onnx_files import load_model, run_model
from data_pipelines.filters.models import find_models
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path

CHUNK, CONTEXT = 512, 64  # samples that the detector judges, and samples of the chunk before that it sees with them
INPUTS, OUTPUTS = ((None, None), (2, None, 128), ()), ((None, 1), (None, None, None))
SPEECH = 0.5  # probability
HOP, FRAME = 160, 640  # samples; pitch is looked for in pieces of 40 ms
LOWEST, HIGHEST = 70, 400  # Hz, of voices
PERIODIC = 0.5  # correlation of a voiced piece with itself one period later
QUIET = 30  # decibels below the clip's loud pieces (95th percentile)
INAUDIBLE = 1e-3  # RMS below which nothing is speech
PAUSE = 0.3  # seconds between voiced pieces that still belong to speech: consonants, gaps between words


def make_voice_step(models: Path | None) -> Step:
    found = find_models(models, "voice")
    if found is None:
        return Step("voice", MeasureVoice(None), make_version(__name__))
    load_model(found[0], INPUTS, OUTPUTS)
    return Step("voice", MeasureVoice(found[0]), make_version(__name__, models=found))


@dataclass(frozen=True)
class MeasureVoice:
    """Columns: fraction of time with speech, method ("silero" or "pitch")."""

    model: Path | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        samples = load_audio(clip_path(clip, clip_dir))
        if self.model is None:
            return {"fraction": float(detect_speech_by_pitch(samples).mean()), "method": "pitch"}
        return {"fraction": float(detect_speech_by_silero(samples, self.model).mean()), "method": "silero"}


def detect_speech_by_silero(samples: Float32[np.ndarray, " n"], model: Path) -> Bool[np.ndarray, " chunks"]:
    """Whether each 32 ms are speech."""
    session = load_model(model, INPUTS, OUTPUTS)
    count = -(-len(samples) // CHUNK)
    padded = np.pad(samples, (CONTEXT, count * CHUNK - len(samples)))
    state, speech = np.zeros((2, 1, 128), np.float32), []
    for start in range(0, count * CHUNK, CHUNK):
        piece = padded[None, start : start + CONTEXT + CHUNK]
        probability, state = run_model(session, piece, state, np.array(SAMPLE_RATE))
        speech.append(probability.item() > SPEECH)
    return np.array(speech)


def detect_speech_by_pitch(samples: Float32[np.ndarray, " n"]) -> Bool[np.ndarray, " pieces"]:
    """Whether each 10 ms are speech: loud enough and periodic like a voice, or in a short pause of it."""
    padded = np.pad(samples, (0, max(0, FRAME - len(samples))))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    pieces = pieces - pieces.mean(1, keepdims=True)
    power = (pieces**2).mean(1)
    threshold = max(np.percentile(power, 95) / 10 ** (QUIET / 10), INAUDIBLE**2)

    spectrum = np.fft.rfft(pieces * np.hanning(FRAME), 2 * FRAME)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :FRAME]
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(FRAME), 2 * FRAME)) ** 2)[:FRAME]
    correlation /= np.maximum(correlation[:, :1], 1e-12) * (window / window[0])
    periods = correlation[:, SAMPLE_RATE // HIGHEST : SAMPLE_RATE // LOWEST]
    voiced = (power > threshold) & (periods.max(1) > PERIODIC)
    reach = round(PAUSE * SAMPLE_RATE / HOP) // 2
    return binary_closing(np.pad(voiced, reach), np.ones(2 * reach + 1))[reach : len(voiced) + reach]
