"""What a video of AvatarSync shows and when, known before a network has run."""

import dataclasses

from actavatar_jax.avatarsync.units import Alignment, Schedule, Unit, align_text, schedule, to_units
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound
from actavatar_jax.speech import VOICES


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Units of speech, what each frame shows of them, and the sound."""

    units: tuple[Unit, ...]
    schedule: Schedule
    sound: Sound | None = None


def plan_text(text: str, language: str = "en", rate: int = 170) -> Plan:
    """The plan of a text that a synthetic voice of the language speaks, so many words a minute.

    Raises:
      InputError: a language without a voice, and as `align_text`.
    """
    voices = [name for name, voice in VOICES.items() if voice.language == language]
    if not voices:
        languages = ", ".join(dict.fromkeys(voice.language for voice in VOICES.values()))
        raise InputError(f"There is no voice of the language {language!r}; the languages are {languages}.")
    spoken, samples = align_text(text, voices[0], rate)
    return plan_speech(spoken, Sound.coerce(samples))


def plan_speech(spoken: Alignment, sound: Sound | None = None, notation: str = "ipa") -> Plan:
    """The plan of speech whose phonemes are known. InputError as `to_units`."""
    units = to_units(spoken.phonemes, notation, spoken.words)
    return Plan(units, schedule(units, spoken.seconds), sound)
