"""What puppets say: sentences, speech fitted to a clip, and what lips do in it."""

from actavatar_jax.puppets.speech.fitting import fit
from actavatar_jax.puppets.speech.lips import SOUNDS, Visemes, is_open_vowel, is_stressed, visemes
from actavatar_jax.puppets.speech.sentences import GRAMMARS, LANGUAGES, make_sentence

__all__ = [
    "GRAMMARS",
    "LANGUAGES",
    "SOUNDS",
    "Visemes",
    "fit",
    "is_open_vowel",
    "is_stressed",
    "make_sentence",
    "visemes",
]
