"""Phonemes to units: what looks alike is one unit, what is spoken as one is one, and pauses are units of their own.

A keyframe sees its own unit and no other, so what neighbours do to a sound has to be in its unit: joint units for
sounds that are spoken as one, and rounded forms of consonants whose lips only follow the next vowel.

Words as units are the paper's ablation. Alignments tell where a word begins and not how it is written, so it is named
by what its sounds look like, /b-ae-b/ for "map": words that look alike are one, in whatever notation and tempo.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from actavatar_jax.avatarsync.units.spelling import LONGEST, NOTATIONS, Piece, spell
from actavatar_jax.avatarsync.units.table import LEVELS, SILENCE, UnitTable, unit_table, word_of
from actavatar_jax.errors import InputError
from actavatar_jax.speech import Phoneme

SPOKEN_AS_ONE = 0.16  # seconds that sounds last together at most to be one unit
FIRST_OF_TWO = 2 / 3  # of a longer diphthong: the middles of its two units are at 1/3 and at 5/6
SHORTEST_PAUSE = 0.1  # seconds; shorter ones belong to the unit before


@dataclasses.dataclass(frozen=True)
class Unit:
    """`id` and `name` of the unit, its time in seconds, and the phonemes it comes from: [span[0], span[1])."""

    id: int
    name: str
    start: float
    end: float
    span: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class _Part:
    """A unit to be: its name, time, phonemes, letters, and whether a word begins with it."""

    unit: str
    start: float
    end: float
    first: int
    stop: int
    letters: str = ""
    begins: bool = False


def to_units(
    phonemes: Sequence[Phoneme], notation: str = "ipa", words: Sequence[float] = (), level: str = "phonemes"
) -> tuple[Unit, ...]:
    """The units of phonemes that follow each other without gaps; together they last as long.

    Args:
      notation: of the symbols: ipa (as espeak-ng and most aligners have it), arpabet, or pinyin (syllables with or
        without a tone, or initials and finals).
      words: seconds in which words begin; sounds of two words are not spoken as one.
      level: what a unit is of: phonemes, or words, which go on until the next one or a pause.

    Raises:
      InputError: another notation or level; of words, speech that does not tell where they begin.
    """
    if notation not in NOTATIONS:
        raise InputError(f"The notation of phonemes is {notation!r}; accepted is {', '.join(NOTATIONS)}.")
    if level not in LEVELS:
        raise InputError(f"The level of units is {level!r}; accepted is {', '.join(LEVELS)}.")
    table = unit_table()
    spelled = list(_spelled(phonemes, notation, words, table))
    if level == "words":
        parts = _absorbed(list(_worded(spelled, words)))
    else:
        parts = [piece for part in _joined(spelled, table) for piece in _split(part, table)]
        parts = _merged(_absorbed(_rounded(parts, table)))
    return tuple(Unit(table.id(p.unit), p.unit, p.start, p.end, (p.first, p.stop)) for p in parts)


def _spelled(phonemes: Sequence[Phoneme], notation: str, words: Sequence[float], table: UnitTable) -> Iterator[_Part]:
    """A phoneme without a piece is an empty part: its time goes to a neighbour."""
    first_ones = first_of_words(phonemes, words)
    for index, phoneme in enumerate(phonemes):
        begins = index in first_ones
        if phoneme.symbol in table.pauses:
            pieces = [Piece(SILENCE, phoneme.start, phoneme.end)]
        else:
            pieces = spell(phoneme.symbol, phoneme.start, phoneme.end, notation, table)
        for number, piece in enumerate(pieces or [Piece("", phoneme.start, phoneme.end)]):
            yield _Part(piece.unit, piece.start, piece.end, index, index + 1, piece.letters, begins and not number)


def first_of_words(phonemes: Sequence[Phoneme], words: Sequence[float]) -> set[int]:
    """Numbers of the phonemes that begin a word: those that begin nearest to where words do, which voices tell up to a
    closure of the lips away. Pauses begin none."""
    spoken = [number for number, phoneme in enumerate(phonemes) if phoneme.symbol not in unit_table().pauses]
    return {min(spoken, key=lambda number: abs(phonemes[number].start - word)) for word in words if spoken}


def _worded(parts: Sequence[_Part], words: Sequence[float]) -> Iterator[_Part]:
    """The sounds of every word as one part, and pauses."""
    if not words and any(part.unit != SILENCE for part in parts):
        raise InputError(
            "Units of words need the times at which words begin, which this speech does not tell; accepted is a text, "
            "a TextGrid with a tier words, JSON with words, or an aligner that names letters or is told the text."
        )
    run: list[_Part] = []
    for part in parts:
        if run and (part.begins or _is_pause(part) != _is_pause(run[-1])):
            yield _as_word(run)
            run = []
        run.append(part)
    if run:
        yield _as_word(run)


def _as_word(run: Sequence[_Part]) -> _Part:
    """Parts that follow each other as one: without a sound it is a pause, or too short for a unit."""
    sounds = [part.unit for part in run if part.unit not in ("", SILENCE)]
    name = word_of(sounds) if sounds else SILENCE if _is_pause(run[0]) else ""
    return dataclasses.replace(run[0], unit=name, end=run[-1].end, stop=run[-1].stop)


def _joined(parts: list[_Part], table: UnitTable) -> Iterator[_Part]:
    """Two or three neighbours of one word that the table has as one, where together they are short."""
    place = 0
    while place < len(parts):
        groups = (parts[place : place + count] for count in range(min(LONGEST, len(parts) - place), 1, -1))
        group = next((group for group in groups if _is_one(group, table)), [parts[place]])
        letters = "".join(part.letters for part in group)
        joint = dataclasses.replace(group[0], end=group[-1].end, stop=group[-1].stop, letters=letters)
        yield dataclasses.replace(joint, unit=table.joint[letters]) if len(group) > 1 else group[0]
        place += len(group)


def _is_one(group: list[_Part], table: UnitTable) -> bool:
    """Whether neighbours are spoken as one."""
    letters = "".join(part.letters for part in group)
    short = group[-1].end - group[0].start < SPOKEN_AS_ONE
    of_one_word = not any(part.begins for part in group[1:])
    return letters in table.joint and short and of_one_word and all(part.letters for part in group)


def _split(part: _Part, table: UnitTable) -> list[_Part]:
    """A diphthong that is not short becomes its two sounds; the first is heard longer."""
    if part.letters not in table.joint or part.end - part.start < SPOKEN_AS_ONE:
        return [part]
    known = table.joint | table.ipa
    count = next(n for n in range(len(part.letters) - 1, 0, -1) if part.letters[:n] in known)
    first, last = part.letters[:count], part.letters[count:]
    middle = part.start + FIRST_OF_TWO * (part.end - part.start)
    before = dataclasses.replace(part, unit=known[first], end=middle, letters=first)
    after = dataclasses.replace(part, unit=known[last], start=middle, letters=last, begins=False)
    return _split(before, table) + _split(after, table)


def _rounded(parts: Sequence[_Part], table: UnitTable) -> list[_Part]:
    """Consonants directly before rounded lips have them already."""
    following = [*(part.unit for part in parts[1:]), ""][: len(parts)]
    return [
        dataclasses.replace(part, unit=table.rounded[part.unit])
        if part.unit in table.rounded and after in table.rounding
        else part
        for part, after in zip(parts, following, strict=True)
    ]


def _absorbed(parts: Sequence[_Part]) -> list[_Part]:
    """Short pauses, and sounds that do not move the lips, belong to the unit before; the first ones to that behind."""
    kept: list[_Part] = []
    waiting: list[_Part] = []
    for part in parts:
        brief = part.unit in ("", SILENCE) and not _is_pause(part)
        if brief and kept:
            kept[-1] = dataclasses.replace(kept[-1], end=part.end, stop=part.stop)
        elif brief:
            waiting.append(part)
        else:
            kept.append(dataclasses.replace(part, start=waiting[0].start, first=0) if waiting else part)
            waiting = []
    if waiting:  # there is nothing else
        kept.append(dataclasses.replace(waiting[0], unit=SILENCE, end=waiting[-1].end, stop=waiting[-1].stop))
    return kept


def _is_pause(part: _Part) -> bool:
    """Whether it is one that is a unit of its own."""
    return part.unit == SILENCE and part.end - part.start >= SHORTEST_PAUSE


def _merged(parts: Sequence[_Part]) -> list[_Part]:
    """Equal neighbours are one unit."""
    runs = (list(run) for _, run in itertools.groupby(parts, lambda part: part.unit))
    return [dataclasses.replace(run[0], end=run[-1].end, stop=run[-1].stop) for run in runs]
