"""The library espeak-ng through ctypes: a text to samples and to phonemes with their times.

It comes with the wheel espeakng-loader (extra `puppets`; GPL), which is imported only when something is spoken.
"""

import _ctypes
import ctypes
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from actavatar_jax.errors import InputError
from actavatar_jax.speech.phonemes import PAUSE, Phoneme, is_voiceless_stop

CLOSURE, SILENT = 0.08, 0.004 * 32768  # seconds that lips are shut before a stop's burst at most; level of silence
LONGEST_PATH = 120  # bytes; from about 140 the library cuts the path of its data


@dataclass(frozen=True, eq=False)
class Spoken:
    """What the library said: phonemes and pauses without gaps, and where each word begins, in seconds."""

    samples: Int16[np.ndarray, " n"]
    sample_rate: int
    phonemes: tuple[Phoneme, ...]
    words: tuple[float, ...]


def synthesise(text: str, name: str, rate: int, pitch: int, max_seconds: float) -> Spoken:
    """The text spoken by the voice of that name; broken off soon after `max_seconds`.

    The library is loaded anew each time (3 ms): else samples and times depend on what was spoken before.
    """
    recording, paths = _Recording(), _espeak_paths()
    callback = _CALLBACK(recording.receive)
    with _LOCK, _short(paths[1]) as data:
        library = ctypes.CDLL(paths[0])
        try:
            sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _OPTIONS)
            if sample_rate <= 0 or library.espeak_SetVoiceByName(name.encode()):
                raise InputError(f"espeak-ng finds no voice {name} in {paths[1]}; install espeakng-loader anew.")
            recording.limit = max_seconds * sample_rate
            library.espeak_SetParameter(_RATE, rate, 0)
            library.espeak_SetParameter(_PITCH, pitch, 0)
            library.espeak_SetSynthCallback(callback)
            encoded = text.encode() + b"\0"
            library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded)), 0, 1, 0, _UTF8, None, None)
            library.espeak_Terminate()
        finally:
            _unload(library)
    samples = np.frombuffer(b"".join(recording.pieces), np.int16)
    phonemes = _phonemes(recording.events, samples, sample_rate)
    words = tuple(event.sample / sample_rate for event in recording.events if event.type == _WORD)
    return Spoken(samples, sample_rate, phonemes, words)


# ---- what the library hands over


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("symbol", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_END_OF_EVENTS, _WORD, _PHONEME = 0, 1, 7
_SYNCHRONOUS, _UTF8, _RATE, _PITCH = 2, 1, 1, 3
_OPTIONS = 0x1 | 0x2 | 0x8000  # phoneme events, in IPA, and no exit of the process where data are missing
_LOCK = threading.Lock()  # the library is one global state


class _Recording:
    """Samples and events of one synthesis; `limit` in samples."""

    def __init__(self):
        self.limit, self.count = 0.0, 0
        self.pieces: list[bytes] = []
        self.events: list[_Event] = []

    def receive(self, samples, count: int, events) -> int:
        """The library's callback; 1 ends the synthesis."""
        if samples and count:
            self.pieces.append(ctypes.string_at(samples, 2 * count))
            self.count += count
        index = 0
        while events[index].type != _END_OF_EVENTS:
            self.events.append(_Event.from_buffer_copy(events[index]))
            index += 1
        return int(self.count > self.limit)


def _phonemes(events: list[_Event], samples: Int16[np.ndarray, " n"], sample_rate: int) -> tuple[Phoneme, ...]:
    """Phonemes one after another, from 0 to the end of the sound.

    The library announces a voiceless stop at its burst; the silence before it belongs to it: lips are shut then.
    """
    marks = [(PAUSE, 0)]
    for event in events:
        if event.type != _PHONEME:
            continue
        symbol, start = event.id.symbol.decode(errors="ignore") or PAUSE, event.sample
        if is_voiceless_stop(symbol):
            start = max(start - _silence_before(samples, start, sample_rate), marks[-1][1])
        marks.append((symbol, start))
    times = [start / sample_rate for _, start in marks] + [len(samples) / sample_rate]
    timed = [Phoneme(symbol, *span) for (symbol, _), span in zip(marks, pairwise(times), strict=True)]
    return tuple(phoneme for phoneme in timed if phoneme.end > phoneme.start)


def _silence_before(samples: Int16[np.ndarray, " n"], stop: int, sample_rate: int) -> int:
    """How many samples before `stop` are silent, up to CLOSURE seconds."""
    heard = np.abs(samples[max(0, stop - round(CLOSURE * sample_rate)) : stop].astype(np.int32)) > SILENT
    return int(np.argmax(heard[::-1])) if heard.any() else len(heard)


# ---- its files


def _espeak_paths() -> tuple[str, str]:
    """The library and its data."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError(
            'Texts are spoken with espeak-ng, which is not installed: pip install "actavatar-jax[puppets]".'
        ) from error
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The path, or a short link to it where it is too long for the library."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "data"
        link.symlink_to(path, target_is_directory=True)
        yield str(link)


def _unload(library: ctypes.CDLL) -> None:
    unload = _ctypes.FreeLibrary if os.name == "nt" else _ctypes.dlclose
    unload(library._handle)
