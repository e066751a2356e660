# ruff: noqa: RUF001 RUF003 (letters of the phonetic alphabet look like others)
"""Speech of the drawn world: lips, sentences, and sound fitted to a clip."""

import math

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.puppets.speech import GRAMMARS, SOUNDS, fit, make_sentence, visemes
from actavatar_jax.speech import PAUSE, VOICES, Phoneme, sounds, speak

# ---- lips


@pytest.mark.parametrize("voice", ["english-us", "german-woman"])
def test_lips_open_when_open_vowels_sound(voice):
    """The voice between 500 and 1100 Hz is strong in open vowels; the lips follow it best without any shift."""
    rng, band = np.random.default_rng(3), butter(4, [500, 1100], "band", fs=SAMPLE_RATE, output="sos")
    table = []
    for _ in range(12):
        spoken = fit(speak(make_sentence(rng, VOICES[voice].language), voice), 90, rng)
        level = np.sqrt((sosfiltfilt(band, spoken.samples).reshape(90, SAMPLES_PER_FRAME) ** 2).mean(1))
        opening = visemes(spoken.phonemes, 90).opening
        table.append([np.corrcoef(level[4:-4], opening[4 + lag : 86 + lag])[0, 1] for lag in range(-4, 5)])
    correlations = np.mean(table, axis=0)
    assert np.argmax(correlations) == 4 and correlations[4] > 0.65


def test_open_vowels_open_wide_closures_shut_and_silence_is_shut():
    word = [
        ("ˈɑː", 0.4, 0.6),
        ("p", 0.6, 0.62),
        ("a", 0.62, 0.8),
        (PAUSE, 0.8, 1.2),
        ("m", 1.2, 1.21),
        ("aɪ", 1.21, 1.6),
    ]
    lips = visemes([Phoneme(*sound) for sound in word], 50)
    assert lips.opening.shape == lips.width.shape == (50,)
    assert not lips.opening[:9].any() and not lips.opening[20:30].any() and not lips.opening[42:].any()
    assert lips.opening[15] == 0 and lips.opening[30] == 0  # p and m, half a frame and less
    assert lips.opening[11:14].min() > 0.9 and lips.opening[17:19].min() > 0.9
    assert lips.opening[32] > 0.8 and 0.4 < lips.opening[37] < 0.5  # a, then ɪ
    for curve in (lips.opening, lips.width):
        assert curve.dtype == np.float32 and curve.min() >= 0 and curve.max() <= 1


def test_width_tells_spread_from_rounded_lips():
    spread, rounded = (visemes([Phoneme(vowel, 0.0, 0.4)], 10).width[4] for vowel in ("iː", "uː"))
    assert spread == pytest.approx(1, abs=1e-6) and rounded < 0.1
    assert visemes([], 5).width == pytest.approx(0.5)


def test_a_short_pause_does_not_shut_the_lips():
    short = visemes([Phoneme("a", 0.0, 0.2), Phoneme(PAUSE, 0.2, 0.26), Phoneme("a", 0.26, 0.4)], 10)
    assert short.opening[1:9].min() > 0.9


def test_lips_of_phonemes_outside_the_clip_and_of_unknown_sounds():
    assert not visemes([Phoneme("a", 1.0, 1.5), Phoneme("m", 1.5, 1.6)], 10).opening.any()
    assert 0.1 < visemes([Phoneme("ǃ", 0.0, 0.4)], 10).opening[5] < 0.5


@pytest.mark.parametrize("voice", VOICES)
def test_every_sound_has_lips(voice):
    rng = np.random.default_rng(0)
    words = " ".join(make_sentence(rng, VOICES[voice].language) for _ in range(15))
    symbols = {phoneme.symbol for phoneme in speak(words, voice, rate=300).phonemes} - {PAUSE}
    assert len(symbols) > 30 and all(sounds(symbol) for symbol in symbols)
    assert {sound for symbol in symbols for sound in sounds(symbol)} <= set(SOUNDS)


# ---- fitting


@pytest.mark.parametrize("frames", [1, 17, 49, 77, 125])
def test_fit_gives_exactly_the_frames(frames):
    spoken, rng = speak("Hello, my name is Paul and I paint apples."), np.random.default_rng(frames)
    fitted = fit(spoken, frames, rng)
    assert len(fitted.samples) == frames * SAMPLES_PER_FRAME and fitted.samples.dtype == np.float32
    assert fitted.phonemes[0].start == 0 and fitted.phonemes[-1].end == pytest.approx(frames / FPS)
    for phoneme, following in zip(fitted.phonemes, fitted.phonemes[1:], strict=False):
        assert phoneme.start < phoneme.end == pytest.approx(following.start)
        assert not phoneme.symbol == following.symbol == PAUSE


def test_fit_moves_sound_and_phonemes_together():
    spoken = speak("map")
    leads = []
    for seed in range(40):
        fitted = fit(spoken, 60, np.random.default_rng(seed))
        first = next(p for p in fitted.phonemes if p.symbol == "m")
        start = round(first.start * SAMPLE_RATE)
        np.testing.assert_array_equal(fitted.samples[start : start + len(spoken.samples)], spoken.samples)
        assert fitted.words == (first.start,)
        assert not fitted.samples[:start].any() and not fitted.samples[start + len(spoken.samples) :].any()
        leads.append(first.start)
    assert 0 <= min(leads) < 0.03 and 0.27 < max(leads) <= 0.3
    assert fit(spoken, 60).phonemes[0].end == pytest.approx(0.1)


def test_fit_shortens_the_lead_before_it_cuts_and_cuts_softly():
    spoken = speak("My mother bought a big box of apples at the farm.")
    frames = math.ceil(len(spoken.samples) / SAMPLES_PER_FRAME)
    assert fit(spoken, frames).phonemes[0].end < 1 / FPS
    cut = fit(spoken, frames - 20)
    assert cut.phonemes[0].end == pytest.approx(0.1) and cut.samples[-1] == 0
    np.testing.assert_array_equal(cut.samples[1600:20000], spoken.samples[: 20000 - 1600])


# ---- texts


@pytest.mark.parametrize("language", GRAMMARS)
def test_sentences_vary_and_last_about_three_seconds(language):
    grammar = GRAMMARS[language]
    assert all(len(set(entries)) == len(entries) for entries in grammar.values())
    sentences = [make_sentence(np.random.default_rng(seed), language) for seed in range(3000)]
    assert len(set(sentences)) >= 2990  # of 100,000 sentences, about 45 would come twice
    assert all(s[0].isupper() and s[-1] in ".?" and not set(s) & set("{}") for s in sentences)
    voice = next(name for name, voice in VOICES.items() if voice.language == language)
    seconds = [len(speak(sentence, voice).samples) / SAMPLE_RATE for sentence in sentences[:40]]
    assert min(seconds) > 2 and max(seconds) < 5.5 and 3 < np.median(seconds) < 4


def test_a_sentence_depends_on_its_stream_only():
    assert make_sentence(np.random.default_rng(5), "en") == make_sentence(np.random.default_rng(5), "en")
    with pytest.raises(InputError, match="no sentences in 'fr'; the languages are en, de"):
        make_sentence(np.random.default_rng(0), "fr")
