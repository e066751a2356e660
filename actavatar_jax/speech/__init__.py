"""Texts spoken by a synthetic voice (espeak-ng), and phonemes with their times."""

from actavatar_jax.speech.phonemes import PAUSE, Phoneme, is_voiceless_stop, join_pauses, sounds
from actavatar_jax.speech.voices import PINYIN, SPEAKERS, VOICES, Utterance, Voice, speak

__all__ = [
    "PAUSE",
    "PINYIN",
    "SPEAKERS",
    "VOICES",
    "Phoneme",
    "Utterance",
    "Voice",
    "is_voiceless_stop",
    "join_pauses",
    "sounds",
    "speak",
]
