"""What one phoneme is made of: pieces that are a unit each, with their share of its time."""

import logging
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from actavatar_jax.avatarsync.units.table import UNKNOWN, UnitTable

NOTATIONS = ("ipa", "arpabet", "pinyin")
LONGEST = 3  # letters of an entry
INITIAL_SHARE, LONGEST_INITIAL = 0.35, 0.12  # of a syllable, and seconds
MODIFIERS = ("Lm", "Mn", "Sk")  # of letters; espeak-ng says some of them alone
TONES = "\u0300\u0301\u0304\u030c"

logger = logging.getLogger(__name__)
_reported: set[str] = set()


class Piece(NamedTuple):
    """A part of a phoneme: its unit, when it begins and ends (seconds), and its letters (none of pinyin's)."""

    unit: str
    start: float
    end: float
    letters: str = ""


def spell(symbol: str, start: float, end: float, notation: str, table: UnitTable) -> list[Piece]:
    """The pieces of one phoneme, or of one pinyin syllable, in the order in which they are spoken.

    A sound that does not move the lips has none. Diphthongs stay one piece; what is not in the table becomes `unk`, and
    the log says so once.
    """
    if notation == "pinyin":
        return _spell_pinyin(symbol, start, end, table)
    letters = letters_of(table.arpabet.get(symbol.rstrip("0123456789").upper(), ""), table)
    if notation == "ipa":
        letters = "" if symbol in table.unknown else letters_of(symbol, table)
    if not letters and symbol and all(unicodedata.category(c) in MODIFIERS for c in symbol):
        return []
    if not letters:
        return [Piece(_unknown(symbol), start, end)]
    letters = "".join(letter for letter in letters if letter not in table.vanishing)
    pieces, length = [], end - start
    for unit, first, stop in _longest_matches(letters, symbol, table):
        share = [start + length * place / len(letters) for place in (first, stop)]
        pieces.append(Piece(unit, *share, letters[first:stop]))
    return pieces


def letters_of(symbol: str, table: UnitTable) -> str:
    """A symbol's letters, without stress, length and diacritics but where a letter with its diacritic is in the table:
    ç is, and would be lost if all were taken apart."""
    letters = [c for c in unicodedata.normalize("NFC", symbol) if unicodedata.category(c) in ("Ll", "Lo")]
    return "".join(c if c in table.ipa else unicodedata.normalize("NFD", c)[0] for c in letters)


def _longest_matches(letters: str, symbol: str, table: UnitTable) -> Iterator[tuple[str, int, int]]:
    """(unit, first letter, letter behind the last)."""
    place = 0
    while place < len(letters):
        for length in range(min(LONGEST, len(letters) - place), 0, -1):
            part = letters[place : place + length]
            if unit := table.joint.get(part) or table.ipa.get(part):
                break
        else:
            unit = _unknown(symbol)
        yield unit, place, place + length
        place += length


def _spell_pinyin(symbol: str, start: float, end: float, table: UnitTable) -> list[Piece]:
    """Initial and final of a syllable; one of them alone is a syllable of one part."""
    plain = _without_tone(symbol)
    syllable = table.spellings.get(plain, plain)
    initial = next((syllable[:n] for n in (2, 1, 0) if syllable[:n] in table.initials), "")
    if syllable in table.finals and syllable not in table.initials:
        initial = ""
    final = syllable.removeprefix(initial)
    final = table.short_finals.get(final, final)
    if final == "i" and initial in table.apical:
        units: tuple[str, ...] = (table.apical[initial],)
    elif final in table.finals:
        units = table.finals[final]
    else:
        units = () if initial and not final else (_unknown(symbol),)
    middle = start + (min(INITIAL_SHARE * (end - start), LONGEST_INITIAL) if units else end - start)
    pieces = [Piece(table.initials[initial], start, middle)] if initial else []
    begin = middle if initial else start
    step = (end - begin) / max(len(units), 1)
    return pieces + [Piece(unit, begin + i * step, begin + (i + 1) * step) for i, unit in enumerate(units)]


def _without_tone(symbol: str) -> str:
    """`zhōng` and `zhong1` are zhong; ü and u: are v."""
    parts = unicodedata.normalize("NFD", symbol.strip().lower().rstrip("012345"))
    plain = unicodedata.normalize("NFC", "".join(c for c in parts if c not in TONES))
    return plain.replace("u:", "v").replace("ü", "v")


def _unknown(symbol: str) -> str:
    if symbol not in _reported:
        _reported.add(symbol)
        logger.warning("The unit table has no entry for the symbol %r: it is shown as an unknown sound.", symbol)
    return UNKNOWN
