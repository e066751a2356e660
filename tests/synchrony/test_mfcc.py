"""Cepstral coefficients against python_speech_features, and the scale that SyncNet hears on."""

import numpy as np
import pytest

from actavatar_jax.synchrony.mfcc import mfcc


def sound(samples, seed=0):
    """Noise whose colour and loudness change, in steps of 16 bits."""
    rng = np.random.default_rng(seed)
    noise = np.convolve(rng.standard_normal(samples + 19), rng.standard_normal(20), "valid")
    envelope = np.interp(np.arange(samples), np.linspace(0, samples, 9), rng.uniform(0, 1, 9))
    return (np.round(noise * envelope * 2000) / 32768).astype(np.float32).clip(-1, 32767 / 32768)


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 560, 561, 16000, 80000])
def test_they_are_those_of_python_speech_features_on_16_bits(samples):
    reference = pytest.importorskip("python_speech_features")
    signal = sound(samples, seed=samples)
    expected = reference.mfcc(np.int16(signal * 32768), 16000)
    found = mfcc(signal)
    assert found.shape == expected.shape == (1 + max(0, -(-(samples - 400) // 160)), 13)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_five_seconds_are_499_vectors_and_silence_is_finite():
    assert mfcc(np.zeros(80_000, np.float32)).shape == (499, 13)
    assert np.isfinite(mfcc(np.zeros(80_000, np.float32))).all()


def test_what_16_bits_cannot_hold_is_cut():
    """1.0 is one step beyond the largest number."""
    loud = np.ones(640, np.float32)
    np.testing.assert_array_equal(mfcc(loud), mfcc(np.full(640, 32767 / 32768, np.float32)))


def test_a_thousandth_of_the_loudness_lowers_the_energy_alone():
    """The energy would be 20.8 lower if samples were taken as they are, in [-1, 1]."""
    signal = sound(16000)
    assert mfcc(signal)[:, 0].mean() == pytest.approx(2 * np.log(32768) + energies(signal).mean(), abs=0.01)


def energies(signal):
    """Logarithms of what pieces of the pre-emphasised signal hold, without its scale."""
    signal = np.append(signal[:1], signal[1:] - 0.97 * signal[:-1]).astype(float)
    pieces = np.lib.stride_tricks.sliding_window_view(np.pad(signal, (0, 80)), 400)[::160]
    return np.log((np.abs(np.fft.rfft(pieces, 512)) ** 2 / 512).sum(1))
