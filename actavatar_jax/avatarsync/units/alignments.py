"""Alignments from files: phonemes with their times as aligners write them, in TextGrid, JSON or CTM.

Phonemes follow each other without gaps, pauses included, from 0 to the end of the sound. What is no such thing is
refused: nothing is filled up or cut in silence.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from actavatar_jax.avatarsync.units.mandarin import pinyin_of, syllables_of
from actavatar_jax.avatarsync.units.textgrid import parse_textgrid
from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE, PINYIN, Phoneme, speak
from actavatar_jax.storage import cut, named, read_bytes, read_json, read_text, shown, split_lines

TOLERANCE = 0.0015  # seconds by which times of two neighbours may differ: files round them
END_TOLERANCE = 0.02  # seconds by which an alignment may be shorter or longer than its sound: half a frame


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Phonemes from 0 to the end, pauses included, and the seconds in which words begin, where that is known.

    `notation` is that of the symbols: ipa, arpabet or pinyin.
    """

    phonemes: tuple[Phoneme, ...]
    words: tuple[float, ...] = ()
    notation: str = "ipa"

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.phonemes[-1].end


def is_alignment(name: str) -> bool:
    """Whether that is the name of a file for `read_alignment`."""
    return Path(name).suffix.lower() in READERS


def read_alignment(path: str | Path, seconds: float | None = None, notation: str | None = None) -> Alignment:
    """The alignment of a `.TextGrid`, `.json` or `.ctm` file.

    A TextGrid has an interval tier `phones` and may have one `words` (names may end so, as in "speaker - phones"). JSON
    is `{"phonemes": [{"symbol": "m", "start": 0.0, "end": 0.08}, ...], "words": [0.0], "notation": "ipa"}`. CTM has
    lines `file channel start duration symbol`, of one file.

    Args:
      path: the file.
      seconds: how long the sound is that it belongs to.
      notation: of the symbols; None: what a JSON file says, else ipa.

    Raises:
      InputError: the file is none of these; phonemes that overlap, end before they begin, or leave something out; one
        that goes beyond the sound, or an end before the sound's.
    """
    path = Path(path)
    if not is_alignment(path.name):
        raise InputError(f"{named(path)} is no alignment; accepted are files named *.TextGrid, *.json and *.ctm.")
    found = READERS[path.suffix.lower()](path)
    phonemes = check_phonemes(found.phonemes, named(path), seconds)
    return dataclasses.replace(found, phonemes=phonemes, notation=notation or found.notation)


def align_text(text: str, voice: str = "english-us", rate: int = 170) -> tuple[Alignment, Float32[np.ndarray, " n"]]:
    """A text spoken by a synthetic voice: its phonemes with exact times, and the samples, mono at 16 kHz.

    Texts of the voice `mandarin` are in Chinese characters, and its phonemes are syllables of pinyin.

    Raises:
      InputError: as `speech.speak`, and as `pinyin_of`.
    """
    if voice == PINYIN:
        spoken = speak(pinyin_of(text), voice, rate)
        return Alignment(syllables_of(text, spoken), spoken.words, "pinyin"), spoken.samples
    spoken = speak(text, voice, rate)
    return Alignment(spoken.phonemes, spoken.words), spoken.samples


def check_phonemes(phonemes: Sequence[Phoneme], source: str, seconds: float | None = None) -> tuple[Phoneme, ...]:
    """The phonemes, rounded times of neighbours made equal. InputError as `read_alignment`."""
    if not phonemes:
        raise InputError(f"{source} has no phoneme; accepted is at least one, pauses included.")
    checked: list[Phoneme] = []
    for number, phoneme in enumerate(phonemes, start=1):
        before = checked[-1].end if checked else 0.0
        what = f"{source}: phoneme {number}, {shown(phoneme.symbol)},"
        if not math.isfinite(phoneme.start) or not math.isfinite(phoneme.end):
            raise InputError(f"{what} has a time that is no number; accepted are seconds.")
        if phoneme.end <= phoneme.start:
            raise InputError(
                f"{what} ends at {phoneme.end:g} s and begins at {phoneme.start:g} s; it must end after it begins."
            )
        if phoneme.start < before - TOLERANCE:
            raise InputError(
                f"{what} begins at {phoneme.start:g} s, before {before:g} s, where the one before ends; phonemes must "
                "not overlap."
            )
        if phoneme.start > before + TOLERANCE:
            raise InputError(
                f"{what} begins at {phoneme.start:g} s and leaves a gap from {before:g} s on; write a pause there, a "
                f"phoneme with the symbol {PAUSE!r}."
            )
        if seconds is not None and phoneme.end > seconds + END_TOLERANCE:
            raise InputError(f"{what} ends at {phoneme.end:g} s, beyond the sound, which lasts {seconds:g} s.")
        checked.append(Phoneme(phoneme.symbol, before, phoneme.end))
    if seconds is not None and checked[-1].end < seconds - END_TOLERANCE:
        raise InputError(
            f"{source} ends at {checked[-1].end:g} s and its sound at {seconds:g} s; write a pause in between, a "
            f"phoneme with the symbol {PAUSE!r}."
        )
    return tuple(checked)


# ---- one reader for each kind of file


def _read_textgrid(path: Path) -> Alignment:
    tiers = parse_textgrid(_decode(read_bytes(path), path), named(path))
    phones = [name for name in tiers if name.lower().endswith("phones")]
    words = [name for name in tiers if name.lower().endswith("words")]
    if len(phones) != 1:
        raise InputError(
            f"{named(path)} has {len(phones)} interval tiers named phones; accepted is one, found are "
            f"{cut(', '.join(tiers), 100) or 'no tiers'}."
        )
    starts = tuple(word.start for name in words for word in tiers[name] if word.symbol)
    return Alignment(tiers[phones[0]], tuple(sorted(starts)))


def _decode(content: bytes, path: Path) -> str:
    """Praat writes UTF-16 where a label needs it."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"{named(path)} is no text in UTF-8 or UTF-16; save it as one of them.") from error


def _read_json(path: Path) -> Alignment:
    return read_json(path, Alignment)


def _read_ctm(path: Path) -> Alignment:
    phonemes, files = [], {}
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        try:
            file, channel, start, duration, symbol = fields[:5]
            phonemes.append(Phoneme(symbol, float(start), float(start) + float(duration)))
        except ValueError as error:
            raise InputError(
                f"{named(path)} line {number} is {shown(line)}; accepted is file, channel, start, duration and symbol."
            ) from error
        files[file, channel] = number
    if len(files) > 1:
        raise InputError(
            f"{named(path)} is of {len(files)} files or channels, "
            f"{cut(', '.join(' '.join(key) for key in files), 80)}; accepted is one: cut it into parts."
        )
    return Alignment(tuple(phonemes))


READERS: dict[str, Callable[[Path], Alignment]] = {".textgrid": _read_textgrid, ".json": _read_json, ".ctm": _read_ctm}
