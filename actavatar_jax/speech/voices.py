"""Texts spoken by the voices of espeak-ng, with the times of their phonemes."""

import logging
import unicodedata
from dataclasses import dataclass

import numpy as np
import soxr
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import SAMPLE_RATE
from actavatar_jax.speech.espeak import synthesise
from actavatar_jax.speech.phonemes import PAUSE, Phoneme, join_pauses

RATES, PITCHES = (80, 450), (0, 99)  # words per minute; espeak-ng's own scale
MAX_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng: its language and the library's name for it."""

    language: str
    name: str


# Those of puppets. Variants that set `breath` (f2, f3, f5, ...) are left out: they read memory that the library never
# wrote.
VOICES = {
    "english-us": Voice("en", "en-us"),
    "english-us-man": Voice("en", "en-us+m3"),
    "english-us-woman": Voice("en", "en-us+f4"),
    "english-us-girl": Voice("en", "en-us+Annie"),
    "english-uk": Voice("en", "en-gb-x-rp"),
    "english-uk-woman": Voice("en", "en-gb-x-rp+f1"),
    "english-scotland": Voice("en", "en-gb-scotland"),
    "english-caribbean": Voice("en", "en-029"),
    "german": Voice("de", "de"),
    "german-man": Voice("de", "de+m3"),
    "german-woman": Voice("de", "de+f4"),
    "german-girl": Voice("de", "de+Annie"),
}
PINYIN = "mandarin"  # speaks syllables of pinyin with their tones, "ni3 hao3", each a word of its own
SPEAKERS = {**VOICES, PINYIN: Voice("zh", "cmn-latn-pinyin")}


@dataclass(frozen=True, eq=False)
class Utterance:
    """Spoken text: mono samples at 16 kHz in [-1, 1], and the phonemes in order, with pauses, without gaps.

    `words` are the seconds in which words begin.
    """

    samples: Float32[np.ndarray, " n"]
    phonemes: tuple[Phoneme, ...]
    words: tuple[float, ...]


def speak(
    text: str, voice: str = "english-us", rate: int = 170, pitch: int = 50, max_seconds: float = MAX_SECONDS
) -> Utterance:
    """The text spoken: the same arguments give the same bytes, whatever was spoken before.

    rate: words per minute, 80 to 450. pitch: 0 to 99. Emoji and other pictures beside words are left out and logged.
    Refused with an InputError: a voice, rate or pitch that does not exist, a text without anything to speak, in letters
    that the voice does not speak, or lasting longer than `max_seconds`; a missing espeak-ng.
    """
    if voice not in SPEAKERS:
        raise InputError(f"There is no voice {voice!r}; the voices are {', '.join(SPEAKERS)}.")
    for name, value, (low, high) in (("rate", rate, RATES), ("pitch", pitch, PITCHES)):
        if not low <= value <= high:
            raise InputError(f"The {name} of speech is {value}; accepted is {low} to {high}.")
    spoken = synthesise(_speakable(text, voice), SPEAKERS[voice].name, int(rate), int(pitch), max_seconds)
    if len(spoken.samples) > max_seconds * spoken.sample_rate:
        fitting = sum(start < max_seconds for start in spoken.words) - 1  # the last one begins but does not end
        raise InputError(
            f"The text to speak has {len(text.split())} words and lasts longer than the {max_seconds:g} s that fit; "
            f"about the first {max(fitting, 0)} words fit."
        )
    if all(phoneme.symbol == PAUSE for phoneme in spoken.phonemes):
        raise _nothing_to_speak(text)
    samples = soxr.resample(spoken.samples.astype(np.float32) / 32768, spoken.sample_rate, SAMPLE_RATE)
    return Utterance(np.clip(samples, -1, 1), tuple(join_pauses(spoken.phonemes)), spoken.words)


# ---- parts


def _speakable(text: str, voice: str) -> str:
    """The text without pictures and control characters; an InputError for foreign letters and for nothing left."""
    if not text.strip():
        raise InputError("The text to speak is empty; accepted is text with words or numbers.")
    plain = unicodedata.normalize("NFKC", text)
    foreign = dict.fromkeys(c for c in plain if unicodedata.category(c)[0] in "LN" and not _is_latin(c))
    if foreign:
        raise InputError(
            f"The voice {voice} speaks Latin letters and cannot speak {''.join(list(foreign)[:20])!r}; "
            "accepted is text in the language of the voice."
        )
    dropped = dict.fromkeys(c for c in plain if not c.isspace() and not _is_written(c))
    kept = " ".join("".join(" " if c in dropped else c for c in plain).split())
    if not kept:
        raise _nothing_to_speak(text)
    if dropped:
        logger.info("not spoken, for want of words: %s", " ".join(map(ascii, dropped)))
    return kept


def _is_latin(character: str) -> bool:
    return ord(character) < 0x250 or unicodedata.name(character, "").startswith("LATIN")


def _is_written(character: str) -> bool:
    """Letters, numbers, punctuation, currency and a typewriter's symbols; not pictures, joiners or half characters."""
    category = unicodedata.category(character)
    return category[0] in "LNP" or category == "Sc" or (category[0] == "S" and ord(character) < 0x250)


def _nothing_to_speak(text: str) -> InputError:
    return InputError(f"The text {text[:40]!r} has nothing that can be spoken; accepted is text with words or numbers.")
