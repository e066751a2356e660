"""Mel-frequency cepstral coefficients as SyncNet was trained on: those of python_speech_features, by its defaults."""

import numpy as np
from jaxtyping import Float32, Float64
from scipy.fft import dct

from actavatar_jax.media.clock import SAMPLE_RATE

FULL_SCALE = 32768  # of 16 bits
LENGTH, STEP, FFT = 400, 160, 512  # samples of a piece, from one to the next, and of its transform
EMPHASIS = 0.97
FILTERS, CEPSTRA, LIFTER = 26, 13, 22
LEAST = np.finfo(float).eps  # energy in the place of none, so that there is a logarithm


def mfcc(samples: Float32[np.ndarray, " n"]) -> Float64[np.ndarray, "vectors 13"]:
    """100 vectors a second of 16 kHz samples in [-1, 1].

    They are taken of 16-bit numbers: SyncNet has learned how loud sound is on that scale.
    """
    signal = np.clip(np.round(samples.astype(float) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    signal = np.append(signal[:1], signal[1:] - EMPHASIS * signal[:-1])
    count = 1 + max(0, -(-(len(signal) - LENGTH) // STEP))
    signal = np.pad(signal, (0, LENGTH + STEP * (count - 1) - len(signal)))
    pieces = np.lib.stride_tricks.sliding_window_view(signal, LENGTH)[::STEP]
    power = np.abs(np.fft.rfft(pieces, FFT)) ** 2 / FFT

    bands = _positive(power @ mel_filters().T)
    cepstra = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra = cepstra * (1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER))
    cepstra[:, 0] = np.log(_positive(power.sum(1)))
    return cepstra


def mel_filters() -> Float64[np.ndarray, "26 257"]:
    """Triangles over the bins of the transform, evenly spaced in mel from 0 to 8000 Hz."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    corners = np.floor((FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    left, middle, right = (corners[i : FILTERS + i, None] for i in range(3))
    bins = np.arange(FFT // 2 + 1)[None]
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.where(bins < middle, rising, falling).clip(0)


def _positive(energy: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
    return np.where(energy == 0, LEAST, energy)
