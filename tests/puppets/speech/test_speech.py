# ruff: noqa: RUF001 RUF003 (letters of the phonetic alphabet look like others)
"""Speech of the drawn world: sounds, times of phonemes, lips, sentences."""

import hashlib
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.puppets.speech import espeak
from actavatar_jax.puppets.speech.phonemes import PAUSE, SOUNDS, sounds
from actavatar_jax.puppets.speech.sentences import GRAMMARS
from actavatar_jax.puppets.speech.speech import VOICES, Phoneme, Utterance, fit, make_sentence, speak, visemes

ROOT = Path(__file__).parents[3]
TEXTS = {"en": "A happy puppy by the farm, a bad map.", "de": "Papa malt am Abend eine Puppe."}


def digest(utterance: Utterance) -> str:
    times = repr([(p.symbol, p.start, p.end) for p in utterance.phonemes])
    return hashlib.sha256(utterance.samples.tobytes() + times.encode()).hexdigest()


def say(voice: str) -> Utterance:
    return speak(TEXTS[VOICES[voice].language], voice)


# ---- sound


def test_a_voice_says_the_same_whatever_was_said_before_and_in_another_process():
    code = (
        "import sys\n"
        "from actavatar_jax.puppets.speech.speech import VOICES\n"
        "assert 'espeakng_loader' not in sys.modules\n"
        "from tests.puppets.speech.test_speech import digest, say\n"
        "print(*(digest(say(voice)) for voice in reversed(VOICES)))"
    )
    here = [digest(say(voice)) for voice in VOICES]
    assert [digest(say(voice)) for voice in VOICES] == here and len(set(here)) == len(VOICES)
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert there.stdout.split() == here[::-1]


def test_threads_do_not_mix():
    voices = ["english-us", "german", "english-us-girl"] * 4
    with ThreadPoolExecutor(4) as pool:
        assert [digest(spoken) for spoken in pool.map(say, voices)] == [digest(say(voice)) for voice in voices]


def test_rate_and_pitch_are_heard():
    text = "My mother may know all our numbers."
    slow, fast = speak(text, rate=120), speak(text, rate=240)
    assert len(slow.samples) > 1.4 * len(fast.samples)
    low, high = (_tone(speak(text, pitch=pitch).samples) for pitch in (20, 90))
    assert high > 1.3 * low


def _tone(samples: np.ndarray) -> float:
    """Hz of the strongest repetition between 60 and 400 Hz."""
    echo = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)
    shortest = SAMPLE_RATE // 400
    return SAMPLE_RATE / (shortest + int(np.argmax(echo[shortest : SAMPLE_RATE // 60])))


@pytest.mark.parametrize("voice", VOICES)
def test_samples_and_phonemes_belong_together(voice):
    spoken = say(voice)
    assert spoken.samples.dtype == np.float32 and 0.3 < np.abs(spoken.samples).max() <= 1
    assert spoken.phonemes[0].start == 0
    assert spoken.phonemes[-1].end == pytest.approx(len(spoken.samples) / SAMPLE_RATE, abs=1e-3)
    for phoneme, following in zip(spoken.phonemes, spoken.phonemes[1:], strict=False):
        assert phoneme.start < phoneme.end == following.start
        assert not phoneme.symbol == following.symbol == PAUSE
    loud = _loudness(spoken, [p for p in spoken.phonemes if sounds(p.symbol)[:1] in (["a"], ["æ"], ["ɑ"])])
    pauses = [p for p in spoken.phonemes if p.symbol == PAUSE and p.end - p.start > 0.05]
    assert pauses or VOICES[voice].language == "de"
    assert all(_loudness(spoken, [pause]) < 0.1 * loud for pause in pauses)


def _loudness(spoken: Utterance, phonemes: list[Phoneme], length: float = 1.0) -> float:
    """Root mean square within phonemes, in the first `length` seconds of each."""
    spans = [(p.start, min(p.end, p.start + length)) for p in phonemes]
    heard = [spoken.samples[round(low * SAMPLE_RATE) : round(high * SAMPLE_RATE)] for low, high in spans]
    return float(np.sqrt(np.mean(np.concatenate(heard) ** 2)))


def test_phonemes_of_a_word():
    assert "".join(p.symbol for p in speak("map").phonemes) in ("mˈæp", "mˈæp_")
    first = speak("map").phonemes[0]
    assert first.symbol == "m" and 0.03 < first.end - first.start < 0.15


def test_the_silence_before_a_burst_belongs_to_the_stop():
    spoken = speak("A happy puppy, Papa.")
    stops = [p for p in spoken.phonemes if p.symbol == "p"]
    vowels = [p for p in spoken.phonemes if p.symbol[-1] in "æiʌ"]
    assert len(stops) == 5 and all(p.end - p.start > 0.045 for p in stops)
    assert _loudness(spoken, stops, 0.025) < 0.05 * _loudness(spoken, vowels)


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


def test_a_phoneme_is_made_of_sounds():
    assert sounds("ˈɔːɹ") == ["ɔ", "ɔ", "ɹ"] and sounds("tʃ") == ["t", "ʃ"] and sounds(PAUSE) == []


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


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        (" \n", {}, "is empty"),
        ("😀👍🏽👨‍👩‍👧", {}, "nothing that can be spoken"),
        ("... ?!", {}, "nothing that can be spoken"),
        ("\ud800", {}, "nothing that can be spoken"),
        ("Hello 你好", {}, "voice english-us speaks Latin letters and cannot speak '你好'"),
        ("привет", {"voice": "german"}, "voice german speaks Latin letters and cannot speak 'привет'"),
        ("١٢", {}, "cannot speak '١٢'"),
        ("hello", {"voice": "klingon"}, "no voice 'klingon'; the voices are english-us, "),
        ("hello", {"rate": 20}, "rate of speech is 20; accepted is 80 to 450"),
        ("hello", {"pitch": 100}, "pitch of speech is 100; accepted is 0 to 99"),
        ("word " * 500, {}, "has 500 words and lasts longer than the 60 s that fit; about the first 2.. words fit"),
        (
            "one two three four five six",
            {"max_seconds": 1.0},
            "longer than the 1 s that fit; about the first [34] words",
        ),
    ],
)
def test_refused_texts(text, options, message):
    with pytest.raises(InputError, match=message):
        speak(text, **options)


def test_pictures_beside_words_are_left_out_and_logged(caplog):
    caplog.set_level("INFO")
    spoken = speak("Hello 😀 world\0 👍🏽!")
    assert digest(spoken) == digest(speak("Hello world !"))
    (record,) = caplog.records
    assert "U0001f600" in record.message


def test_written_signs_are_spoken():
    for text in ("½ café", "ﬁne", "50 %", "$5", "naïve — so", "x < 3"):
        assert len(speak(text).phonemes) > 2


def test_compatibility_forms_are_the_letters_they_stand_for():
    assert digest(speak("Ｈｅｌｌｏ ①")) == digest(speak("Hello 1"))


def test_a_text_without_end_is_not_spoken_to_its_end():
    spoken = espeak.synthesise("word " * 5000, "en-us", 170, 50, max_seconds=2.0)
    assert 2 < len(spoken.samples) / spoken.sample_rate < 3


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r'pip install "actavatar-jax\[puppets\]"'):
        speak("hello")


def test_a_long_path_to_the_data_works(monkeypatch, tmp_path):
    before, (library, data) = digest(speak("hello")), espeak._espeak_paths()
    link = tmp_path / ("deep" * 40)
    link.symlink_to(data, target_is_directory=True)
    monkeypatch.setattr(espeak, "_espeak_paths", lambda: (library, str(link)))
    assert digest(speak("hello")) == before


def test_missing_data_are_named(monkeypatch, tmp_path):
    library, _ = espeak._espeak_paths()
    monkeypatch.setattr(espeak, "_espeak_paths", lambda: (library, str(tmp_path)))
    with pytest.raises(InputError, match="finds no voice en-us in"):
        speak("hello")
