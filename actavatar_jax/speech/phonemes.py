# ruff: noqa: RUF001 RUF002 (letters of the phonetic alphabet look like others)
"""Phonemes with their times, and the sounds that they are made of."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

PAUSE = "_"


@dataclass(frozen=True)
class Phoneme:
    """A phoneme in IPA as espeak-ng names it, stress marks included, or PAUSE; seconds."""

    symbol: str
    start: float
    end: float


def sounds(symbol: str) -> list[str]:
    """The sounds that a phoneme is made of, a long one twice: 'ˈaɪ' is a, ɪ; 'uː' is u, u; 'tʃ' is t, ʃ."""
    parts: list[str] = []
    for character in symbol:
        if character in "ː:" and parts:
            parts.append(parts[-1])
        elif unicodedata.category(character) in ("Ll", "Lo"):  # not stress and other modifiers
            parts.append(character)
    return parts


def is_voiceless_stop(symbol: str) -> bool:
    """Whether the phoneme begins with silence behind shut lips or tongue."""
    return sounds(symbol)[:1] in (["p"], ["t"], ["k"])


def join_pauses(phonemes: Iterable[Phoneme]) -> Iterator[Phoneme]:
    """Pauses that follow each other become one."""
    for symbol, group in groupby(phonemes, lambda phoneme: phoneme.symbol):
        run = list(group)
        yield from [Phoneme(PAUSE, run[0].start, run[-1].end)] if symbol == PAUSE else run
