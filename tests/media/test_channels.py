"""From many channels to one: speech is as loud as it was, wherever it is heard, and never cancelled out."""

import logging

import numpy as np
import pytest

from actavatar_jax.media import Sound, load_audio, load_sound
from actavatar_jax.media.channels import SURROUND, fold, to_stereo
from actavatar_jax.media.notes import warn_once
from tests.media.sounds import encode, tones

HALF = 0.5**0.5


@pytest.fixture(autouse=True)
def said(caplog):
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


def test_the_table_of_the_recommendation():
    """ITU-R BS.775-3, annex 4, table 2: 3/2 to 1/0 and to 2/0."""
    every = np.eye(6, dtype=np.float32)
    np.testing.assert_allclose(fold(every)[:, 0], [HALF, HALF, 1, 0, 0.5, 0.5], rtol=1e-6)
    np.testing.assert_allclose(
        to_stereo(every, SURROUND), [[1, 0], [0, 1], [HALF, HALF], [0, 0], [HALF, 0], [0, HALF]], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("place", "level"), [(0, 0.5 * HALF), (1, 0.5 * HALF), (2, 0.5), (3, 0.0), (4, 0.25), (5, 0.25)]
)
def test_each_channel_of_5_1_is_heard_as_loud_as_it_should(tmp_path, place, level):
    samples = np.zeros((6, 16000), np.float32)
    samples[place] = tones(16000, 1, 440)[0]
    path = encode(tmp_path / "x.wav", samples, 16000, "pcm_f32le", "flt")
    assert np.abs(load_audio(path)).max() == pytest.approx(level, abs=1e-3)
    np.testing.assert_allclose(load_sound(path).samples, samples.T)  # the track keeps its channels
    np.testing.assert_allclose(Sound(samples.T, 16000).to_audio(), load_audio(path), atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize(("scale", "heard"), [(-1.0, "left"), (-1.2, "right"), (-0.8, "left")])
def test_opposite_signs_do_not_cancel_speech(tmp_path, said, rate, scale, heard):
    speech = tones(rate, 2, 440, level=0.4)[0]
    path = encode(tmp_path / "x.wav", np.stack([speech, scale * speech]), rate, "pcm_f32le", "flt")
    expected = tones(16000, 2, 440, level=0.4 * (scale if heard == "right" else 1.0))[0]
    for found in (load_audio(path), load_sound(path).to_audio()):
        np.testing.assert_allclose(found[800:-800], expected[800:-800], atol=1e-3)
    assert [f"only the {heard} one is heard" in message for message in said.messages] == [True, True]
    np.testing.assert_allclose(load_sound(path).samples, np.stack([speech, scale * speech], 1), atol=1e-6)


@pytest.mark.parametrize("second", [1.0, 0.0, 0.3, -0.2, None])
def test_what_a_mean_keeps_is_a_mean(tmp_path, said, second):
    """The same on both sides, one side silent, a little of opposite sign, and another tone."""
    left, other = tones(16000, 1, 440, 700, level=0.4)
    right = other if second is None else second * left
    found = load_audio(encode(tmp_path / "x.wav", np.stack([left, right]), 16000, "pcm_f32le", "flt"))
    np.testing.assert_allclose(found, (left + right) / 2, atol=1e-6)
    assert not said.messages


def test_a_cut_decides_as_it_hears(tmp_path):
    speech = tones(16000, 2, 440)[0]
    path = encode(tmp_path / "x.wav", np.stack([speech, -speech]), 16000, "pcm_f32le", "flt")
    np.testing.assert_allclose(load_audio(path, max_seconds=0.5), speech[:8000], atol=1e-6)


def test_silence_in_two_channels_is_silence(tmp_path, said):
    found = load_audio(encode(tmp_path / "x.wav", np.zeros((2, 16000), np.float32), 16000))
    assert not found.any() and not said.messages


@pytest.mark.parametrize(
    ("channels", "gains"),
    [
        (3, [(1, 0), (0, 1), (0, 0)]),  # 2.1
        (4, [(1, 0), (0, 1), (HALF, HALF), (0.5, 0.5)]),  # 4.0
        (5, [(1, 0), (0, 1), (HALF, HALF), (HALF, 0), (0, HALF)]),  # 5.0
        (8, [(1, 0), (0, 1), (HALF, HALF), (0, 0), (HALF, 0), (0, HALF), (HALF, 0), (0, HALF)]),  # 7.1
    ],
)
def test_numbers_of_channels_that_players_do_not_know_become_two(tmp_path, channels, gains):
    recorded = tones(44100, 1, *range(300, 300 + 100 * channels, 100), level=0.1)
    sound = load_sound(encode(tmp_path / "x.wav", recorded, 44100, "pcm_f32le", "flt"))
    np.testing.assert_allclose(sound.samples, recorded.T @ np.array(gains), atol=1e-6)


def test_microphones_without_places_are_averaged():
    samples = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    for function in (fold, to_stereo):
        np.testing.assert_allclose(function(samples, ("NONE",) * 3)[:, 0], samples.mean(1), rtol=1e-5)
