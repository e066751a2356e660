"""Chinese text as syllables of pinyin, and their times when a voice has spoken them.

Characters with several readings are told apart by the words that they stand in (pypinyin, of the extra `puppets`).
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE, Phoneme, Utterance
from actavatar_jax.storage import shown

SYLLABLE = re.compile(r"[a-zêü]+[1-5]")


def pinyin_of(text: str) -> str:
    """Syllables with their tones, 5 for none, and punctuation where a voice pauses: "ni3 hao3 ,".

    Raises:
      InputError: letters or digits that are no Chinese; a missing pypinyin.
    """
    try:
        from pypinyin import Style, lazy_pinyin
    except ImportError as error:
        raise InputError(
            'Chinese text is read with pypinyin, which is not installed: pip install "actavatar-jax[puppets]".'
        ) from error
    parts = lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False)
    foreign = [part for part in parts if not SYLLABLE.fullmatch(part) and any(map(str.isalnum, part))]
    if foreign:
        raise InputError(f"The text has {shown(foreign[0].strip())}, which is no Chinese; write it in characters.")
    return " ".join(part.strip() for part in parts)


def syllables_of(text: str, spoken: Utterance) -> tuple[Phoneme, ...]:
    """Pinyin syllables and pauses from 0 to the end of what a voice has made of `pinyin_of(text)`."""
    symbols = SYLLABLE.findall(pinyin_of(text))
    if len(symbols) != len(spoken.words):
        raise InputError(
            f"The text has {len(symbols)} syllables and the voice spoke {len(spoken.words)}; accepted is text in "
            "Chinese characters and punctuation."
        )
    return tuple(_timed(symbols, spoken))


def _timed(symbols: list[str], spoken: Utterance) -> Iterator[Phoneme]:
    """A syllable lasts until the pause before the next one; a voice may pause before the first."""
    end = spoken.phonemes[-1].end
    starts = [*spoken.words, end]
    if starts[0] > 0:
        yield Phoneme(PAUSE, 0.0, starts[0])
    for symbol, (start, stop) in zip(symbols, pairwise(starts), strict=True):
        voiced = [
            phoneme.end for phoneme in spoken.phonemes if start <= phoneme.start < stop and phoneme.symbol != PAUSE
        ]
        middle = min(max(voiced, default=stop), stop)
        yield Phoneme(symbol, start, middle)
        if middle < stop:
            yield Phoneme(PAUSE, middle, stop)
