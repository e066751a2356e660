# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""Texts spoken: sounds, times of phonemes and words, and what is refused."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.speech import PAUSE, VOICES, Phoneme, Utterance, espeak, sounds, speak

ROOT = Path(__file__).parents[2]
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
        "from actavatar_jax.speech import VOICES\n"
        "assert 'espeakng_loader' not in sys.modules\n"
        "from tests.speech.test_voices import digest, say\n"
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


def test_a_phoneme_is_made_of_sounds():
    assert sounds("ˈɔːɹ") == ["ɔ", "ɔ", "ɹ"] and sounds("tʃ") == ["t", "ʃ"] and sounds(PAUSE) == []


# ---- texts


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
