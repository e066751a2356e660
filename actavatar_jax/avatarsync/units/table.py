"""The table of units, read from `units.json`: which sounds look alike on the lips, and which are spoken as one.

A unit is what one keyframe shows. Its id is a token of the keyframe transformer, so the list of names and its version
belong to a checkpoint.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import read_json

LEVELS = ("phonemes", "words")  # what one unit is of
PAD, NULL, SILENCE, UNKNOWN = "pad", "null", "sil", "unk"


@dataclasses.dataclass(frozen=True)
class UnitTable:
    """Every field is a part of the file.

    Attributes:
      version: grows with every change of what a symbol becomes.
      size: ids that a model has; more than names, so that units can be added.
      words: ids behind those, which words have by a hash of their names: several words may have one.
      names: units in the order of their ids.
      ranks: units from those that must be seen to those that may be left out where keyframes are too dense.
      never_dropped: units that density does not drop.
      ipa: letters of the phonetic alphabet -> unit.
      joint: letters of a diphthong or of neighbours -> the unit of both, where they are short.
      rounded: consonant -> its form before a unit of `rounding`.
      pauses: labels of silence.
      unknown: labels of noise and of words that an aligner does not know.
      vanishing: sounds that do not move the lips.
      initials, finals: the parts of a pinyin syllable in their full forms (iou, uei, uen; v is ü) -> units.
      apical: initial -> the unit of an `i` behind it.
      spellings: pinyin syllables -> the full form; `short_finals` likewise for finals behind any initial.
      arpabet: symbol without its stress digit -> letters of the phonetic alphabet.
    """

    version: int
    size: int
    words: int
    names: tuple[str, ...]
    ranks: tuple[tuple[str, ...], ...]
    never_dropped: tuple[str, ...]
    ipa: dict[str, str]
    joint: dict[str, str]
    rounded: dict[str, str]
    rounding: tuple[str, ...]
    pauses: tuple[str, ...]
    unknown: tuple[str, ...]
    vanishing: tuple[str, ...]
    initials: dict[str, str]
    finals: dict[str, tuple[str, ...]]
    apical: dict[str, str]
    spellings: dict[str, str]
    short_finals: dict[str, str]
    arpabet: dict[str, str]

    def id(self, name: str) -> int:
        """The token of a unit, or of a word."""
        if not is_word(name):
            return self.names.index(name)
        digest = hashlib.sha256(name.encode()).digest()  # the same in every process, which Python's own hash is not
        return self.size + int.from_bytes(digest[:8], "big") % self.words

    def rank(self, name: str) -> int:
        """0 for what must be seen, more for what may rather be left out; words are all alike."""
        if is_word(name):
            return len(self.ranks)
        return next(rank for rank, names in enumerate(self.ranks) if name in names)

    def check_name(self, name: str, level: str) -> None:
        """InputError for what is no unit of this level."""
        if level == "phonemes" and name not in self.names:
            raise InputError(f"There is no unit {name!r}; the units are {', '.join(self.names)}.")
        if level == "words" and name != SILENCE and not (is_word(name) and set(sounds_of(name)) <= set(self.names)):
            raise InputError(
                f"There is no word {name!r}; accepted is {SILENCE}, or its sounds as /b-ae-b/, of the units "
                f"{', '.join(self.names)}."
            )


def word_of(sounds: Sequence[str]) -> str:
    """The name of a word by the units of its sounds: /b-ae-b/ for b, ae and b."""
    return f"/{'-'.join(sounds)}/"


def sounds_of(word: str) -> list[str]:
    """The inverse of `word_of`."""
    return word[1:-1].split("-")


def is_word(name: str) -> bool:
    """Whether a name is that of a word."""
    return name.startswith("/") and name.endswith("/")


@functools.cache
def unit_table() -> UnitTable:
    """The table that this version of the library has."""
    return read_json(Path(__file__).with_name("units.json"), UnitTable)
