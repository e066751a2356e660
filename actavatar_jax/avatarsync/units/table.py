"""The table of units, read from `units.json`: which sounds look alike on the lips, and which are spoken as one.

A unit is what one keyframe shows. Its id is a token of the keyframe transformer, so the list of names and its version
belong to a checkpoint.
"""

import dataclasses
import functools
from pathlib import Path

from actavatar_jax.storage import read_json

PAD, NULL, SILENCE, UNKNOWN = "pad", "null", "sil", "unk"


@dataclasses.dataclass(frozen=True)
class UnitTable:
    """Every field is a part of the file.

    Attributes:
      version: grows with every change of what a symbol becomes.
      size: ids that a model has; more than names, so that units can be added.
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
        """The token of a unit."""
        return self.names.index(name)

    def rank(self, name: str) -> int:
        """0 for what must be seen, more for what may rather be left out."""
        return next(rank for rank, names in enumerate(self.ranks) if name in names)


@functools.cache
def unit_table() -> UnitTable:
    """The table that this version of the library has."""
    return read_json(Path(__file__).with_name("units.json"), UnitTable)
