"""What a video of AvatarSync shows and when, known before a network has run."""

import dataclasses

from actavatar_jax.avatarsync.units import Alignment, Schedule, Unit, align_text, schedule, to_units
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound
from actavatar_jax.speech import SPEAKERS


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Units of speech, what each frame shows of them, the sound, and the level of the units (`LEVELS`)."""

    units: tuple[Unit, ...]
    schedule: Schedule
    sound: Sound | None = None
    level: str = "phonemes"


def plan_text(text: str, language: str = "en", rate: int = 170, level: str = "phonemes") -> Plan:
    """The plan of a text that a synthetic voice of the language speaks, so many words a minute.

    `level` is that of the model which it is for. Raises InputError for a language without a voice, and as `align_text`.
    """
    spoken, samples = align_text(text, voice_of(language), rate)
    return plan_speech(spoken, Sound.coerce(samples), level)


def voice_of(language: str) -> str:
    """The first voice of a language; InputError for one that has none."""
    voices = [name for name, voice in SPEAKERS.items() if voice.language == language]
    if not voices:
        languages = ", ".join(dict.fromkeys(voice.language for voice in SPEAKERS.values()))
        raise InputError(f"There is no voice of the language {language!r}; the languages are {languages}.")
    return voices[0]


def plan_speech(spoken: Alignment, sound: Sound | None = None, level: str = "phonemes") -> Plan:
    """The plan of speech whose phonemes are known. InputError as `to_units`."""
    units = to_units(spoken.phonemes, spoken.notation, spoken.words, level)
    return Plan(units, schedule(units, spoken.seconds), sound, level)
