"""Sound as recorded: rate, channels and what is in them stay, from a recording to the mp4 and back."""

import logging
import tracemalloc

import av
import jaxtyping
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import SAMPLE_RATE, SAMPLES_PER_FRAME, Sound, Video, load_audio, load_sound, load_video
from actavatar_jax.media.sound import CHANNELS, RATES
from tests.media.sounds import encode, tones

BLACK = np.zeros((32, 32, 3), np.uint8)


def strengths(samples, rate, frequencies):
    """Complex [channels, frequencies]: strength and phase of each tone in each channel of samples [n, channels]."""
    times = np.arange(len(samples)) / rate
    waves = np.exp(-2j * np.pi * np.array(frequencies)[:, None] * times)
    return 2j * (waves @ samples).T / len(samples)


@pytest.mark.parametrize(
    ("name", "codec", "form", "rate", "frequencies"),
    [
        ("x.wav", "pcm_s16le", "s16", 44100, (440, 1000)),
        ("x.wav", "pcm_f32le", "flt", 48000, (7000, 300)),
        ("x.mp3", "libmp3lame", "fltp", 44100, (440, 1000)),
        ("x.m4a", "aac", "fltp", 22050, (440, 1000)),
        ("x.flac", "flac", "s16", 96000, (440, 15000)),
        ("x.flac", "flac", "s16", 24000, (440,)),
        ("x.wav", "pcm_s16le", "s16", 16000, (440,)),
        ("x.wav", "pcm_s16le", "s16", 48000, (400, 500, 600, 50, 800, 900)),
    ],
)
def test_a_video_sounds_like_the_recording(tmp_path, name, codec, form, rate, frequencies):
    path = encode(tmp_path / name, tones(rate, 2.5, *frequencies), rate, codec, form)
    video = Video(np.stack([BLACK] * 50), load_sound(path, 50))
    video.save(tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        track = container.streams.audio[0]
        assert (track.rate, track.channels, track.codec.name) == (rate, len(frequencies), "aac")
        assert (track.start_time, track.duration * track.time_base) == (0, 2)
        assert container.duration / 1e6 == pytest.approx(2, abs=1e-6)
    loaded = load_video(tmp_path / "x.mp4").sound
    assert (loaded.rate, loaded.samples.shape) == (rate, (2 * rate, len(frequencies))) == sizes(video.sound)
    middle = slice(rate // 2, 3 * rate // 2)  # a whole number of waves
    saved, found = (strengths(sound.samples[middle], rate, frequencies) for sound in (video.sound, loaded))
    np.testing.assert_allclose(saved, 0.5 * np.eye(len(frequencies)), atol=0.03)  # mp3 makes it softer
    np.testing.assert_allclose(found, saved, atol=0.02)  # 440 Hz too early or late by a sample of 44.1 kHz is 0.03 off
    heard = strengths(video.audio[SAMPLE_RATE // 2 : 3 * SAMPLE_RATE // 2, None], SAMPLE_RATE, frequencies)[0]
    audible = np.array(frequencies) < SAMPLE_RATE / 2
    if len(frequencies) == 6:  # all of them together are above 1 and were scaled down
        np.testing.assert_allclose(heard / heard[2], [0.707, 0.707, 1, 0, 0.5, 0.5], atol=0.015)
    else:
        np.testing.assert_allclose(heard, 0.5 * audible / len(frequencies), atol=0.015)
    assert len(video.audio) == 50 * SAMPLES_PER_FRAME


def sizes(sound):
    return sound.rate, sound.samples.shape


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("rate", RATES)
def test_an_mp4_carries_every_sound_to_the_sample(tmp_path, rate, channels):
    sound = Sound(0.4 * np.ones((rate, channels), np.float32), rate).fit(7)
    assert sizes(sound) == (rate, (7 * rate // 25, channels)) and rate % 25 == 0
    assert len(sound.to_audio()) == 7 * SAMPLES_PER_FRAME
    Video(np.stack([BLACK] * 7), sound).save(tmp_path / "x.mp4")
    assert sizes(load_video(tmp_path / "x.mp4").sound) == sizes(sound)


def test_an_array_is_sound_of_16_khz(tmp_path):
    array = tones(16000, 2, 440)[0]
    video = Video(np.stack([BLACK] * 50), array)
    assert sizes(video.sound) == (16000, (32000, 1))
    np.testing.assert_array_equal(video.audio, array)
    np.testing.assert_array_equal(load_sound(array).samples[:, 0], array)
    np.testing.assert_array_equal(load_sound(video.sound, 50).samples[:, 0], array)
    assert Video(video.frames).audio is None


@pytest.mark.parametrize("rate", [16000, 44100])
def test_longer_recordings_are_cut_and_shorter_ones_padded(tmp_path, caplog, rate):
    recorded = tones(rate, 1, 440, 1000)
    path = encode(tmp_path / "x.wav", recorded, rate, "pcm_f32le", "flt")
    with caplog.at_level(logging.INFO):
        short, exact, long = (load_sound(path, frames).samples for frames in (5, 25, 30))
    assert caplog.messages == [
        "sound goes on after 0.20 s and is cut there",
        "sound of 1.00 s filled up with silence to 1.20 s",
    ]
    np.testing.assert_array_equal(short, recorded.T[: rate // 5])
    np.testing.assert_array_equal(exact, recorded.T)
    np.testing.assert_array_equal(long, np.pad(recorded.T, ((0, rate // 5), (0, 0))))


def test_one_frame_of_a_long_enough_recording(tmp_path):
    path = encode(tmp_path / "x.wav", tones(44100, 1, 440), 44100)
    assert sizes(load_sound(path, 1)) == (44100, (1764, 1))
    for wrong in (0, -5):
        with pytest.raises(InputError, match=f"{wrong} frames was asked for; at least 1"):
            load_sound(path, wrong)


def test_no_more_is_read_than_the_video_lasts(tmp_path):
    path = encode(tmp_path / "x.wav", tones(48000, 60, 440, 1000), 48000)
    tracemalloc.start()
    try:
        sound = load_sound(path, 125)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sound.samples.nbytes == 5 * 48000 * 2 * 4
    assert peak < 3.5 * sound.samples.nbytes  # all of it would be 12 times


@pytest.mark.parametrize(("rate", "known"), [(37000, 44100), (6000, 7350), (192_000, 96_000)])
def test_rates_that_aac_does_not_have(tmp_path, rate, known):
    for name, codec, form in (("x.wav", "pcm_s16le", "s16"), ("x.mka", "pcm_f32le", "flt")):
        sound = load_sound(encode(tmp_path / name, tones(rate, 2, 440, 1000), rate, codec, form), 50)
        assert sizes(sound) == (known, (2 * known, 2))
        found = strengths(sound.samples[known // 2 : 3 * known // 2], known, (440, 1000))
        np.testing.assert_allclose(found, 0.5 * np.eye(2), atol=0.01)


def test_channels_that_change_within_a_file_become_those_of_its_beginning(tmp_path):
    mono = encode(tmp_path / "mono.mp3", tones(44100, 1, 440), 44100, "libmp3lame", "fltp").read_bytes()
    stereo = encode(tmp_path / "stereo.mp3", tones(44100, 1, 440, 0), 44100, "libmp3lame", "fltp").read_bytes()
    for first, second, expected in ((mono, stereo, ([0.5], [0.25])), (stereo, mono, ([0.5, 0], [0.5, 0.5]))):
        (tmp_path / "x.mp3").write_bytes(first + second)
        samples = load_sound(tmp_path / "x.mp3").samples
        parts = samples[11025:33075], samples[-33075:-11025]
        for part, levels in zip(parts, expected, strict=True):
            np.testing.assert_allclose(np.abs(strengths(part, 44100, (440,)))[:, 0], levels, atol=0.03)


def test_loud_sound_is_scaled_as_a_whole(tmp_path):
    recorded = tones(44100, 1, 441, 0, level=2.0)
    sound = load_sound(encode(tmp_path / "x.wav", recorded, 44100, "pcm_f32le", "flt"))
    np.testing.assert_allclose(sound.samples, recorded.T / 2, atol=1e-6)


def test_a_silent_recording_stays_silent(tmp_path):
    path = encode(tmp_path / "x.wav", np.zeros((2, 44100), np.float32), 44100)
    Video(np.stack([BLACK] * 25), load_sound(path, 25)).save(tmp_path / "x.mp4")
    loaded = load_video(tmp_path / "x.mp4")
    assert sizes(loaded.sound) == (44100, (44100, 2))
    assert not loaded.sound.samples.any() and not loaded.audio.any()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: load_sound(np.zeros(0, np.float32), 25), "The speech holds no samples; at least 0.2 s are needed."),
        (lambda: load_sound(Sound(np.zeros((4410, 2), np.float32), 44100), 25), "The speech lasts 0.100 s"),
        (lambda: load_audio(np.zeros((2, 9000), np.float32)), r"The speech has shape \[2, 9000\]; accepted is mono"),
        (lambda: load_sound([0.0] * 9000), "The speech is list; accepted is a Sound or an array at 16000 Hz."),
        (lambda: load_sound(Sound(np.full((9000, 1), np.nan, np.float32), 16000)), "The speech holds NaN"),
        (lambda: Video(BLACK[None], np.zeros((9000, 2), np.float32)), r"The sound has shape \[9000, 2\]"),
        (lambda: Video(BLACK[None], np.zeros(9000, bool)), "The sound has values of type bool"),
        (lambda: Sound(np.zeros((9000, 3), np.float32), 44100), r"shape \[9000, 3\]; .* with 1, 2 or 6 channels"),
        (lambda: Sound(np.zeros(9000, np.float32), 44100), r"shape \[9000\]"),
        (lambda: Sound(np.zeros((9000, 2), np.float32), 44000), "has 44000 Hz; accepted are 7350, .* 44100, "),
    ],
)
def test_what_is_no_sound_is_refused_in_a_sentence(monkeypatch, make, sentence):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse some before we do
    with pytest.raises(InputError, match=sentence):
        make()
