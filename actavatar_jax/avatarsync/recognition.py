"""Recogniser: a recording to phonemes with their times, by a Wav2Vec2 that was trained with CTC.

Two kinds of published models are read from folders of transformers. Those that name phonemes, in IPA as espeak-ng has
it, hear what is said, or find the phonemes of a text that is given. Those that name letters find words, by the text or
as they hear it; espeak-ng says of what phonemes a word is, and they share its time, vowels twice as much as consonants.

T frames of the recogniser, V labels.
"""

import dataclasses
import functools
import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Float32

from actavatar_jax.avatarsync.units import Alignment
from actavatar_jax.avatarsync.units.ctc import FIELD, HOP, Said, Span, align_labels, hear_labels, to_phonemes
from actavatar_jax.avatarsync.units.spelling import spell
from actavatar_jax.avatarsync.units.table import unit_table
from actavatar_jax.avatarsync.units.units import first_of_words
from actavatar_jax.checks import typed
from actavatar_jax.encoders.speech import check_standardised
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network, Params
from actavatar_jax.media import Sound
from actavatar_jax.models import standardise
from actavatar_jax.speech import PAUSE, PINYIN, speak
from actavatar_jax.storage import named, read_json, shown
from actavatar_jax.weights import load
from actavatar_jax.weights.components import find

SEPARATOR = "|"  # of words, among letters
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "[PAD]", "[UNK]")
STRESS = "ˈˌ"
VOWEL_SHARE = 2.0  # of a word's time, against a consonant's 1


@dataclasses.dataclass(frozen=True, eq=False)
class Recogniser:
    """The network, what multiplies its last state, and the labels by number."""

    network: Network
    params: Params
    head: tuple[Float32[np.ndarray, "D V"], Float32[np.ndarray, " V"]]
    labels: tuple[str, ...]
    blank: int

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Recogniser":
        """Of a folder with config.json, vocab.json and weights, as `Wav2Vec2ForCTC` of transformers has it.

        Raises:
          InputError: one of them is missing or is of another kind of model.
        """
        folder = Path(folder)
        check_standardised(folder / "preprocessor_config.json")
        encoder = load(folder, "audio_encoder")
        if (math.prod(encoder.config.conv_stride), encoder.config.receptive_field) != (HOP, FIELD):
            raise InputError(f"{named(folder)} has other frames than every {HOP} samples, each of which sees {FIELD}.")
        vocabulary = typed(f"content of {named(folder / 'vocab.json')}", read_json(folder / "vocab.json"), dict)
        files = find(folder, "audio_encoder").files
        if not {"lm_head.weight", "lm_head.bias"} <= set(files.names()):
            raise InputError(f"{named(folder)} has no lm_head: it is no recogniser; accepted is a Wav2Vec2ForCTC.")
        weight, bias = (np.asarray(files.view(f"lm_head.{name}"), np.float32) for name in ("weight", "bias"))
        blank = typed(f"pad_token_id of {named(folder / 'config.json')}", _blank_of(folder), int)
        labels = [""] * len(bias)
        for label, number in vocabulary.items():
            if not isinstance(number, int) or not 0 <= number < len(labels):
                raise InputError(
                    f"{named(folder / 'vocab.json')} numbers {shown(label)} as {shown(number)}; accepted are the "
                    f"{len(labels)} numbers of its lm_head."
                )
            labels[number] = label
        return cls(encoder.network, jax.device_put(encoder.params), (weight.T, bias), tuple(labels), blank)

    def align(self, sound: Any, text: str | None = None, voice: str = "english-us") -> Alignment:
        """The phonemes of a recording, pauses included, in IPA.

        Args:
          sound: a `Sound`, or an array [n] at 16 kHz.
          text: what is said; None: as the model hears it.
          voice: of espeak-ng, whose language the text is in: it says which phonemes it has.

        Raises:
          InputError: the voice of Chinese; a text that the voice cannot speak, that is too long for the recording, or
            that the model has no labels for; without a text, a recording in which nothing is heard; a recording of less
            than a frame.
        """
        if voice == PINYIN:
            raise InputError("Recordings of Chinese are not aligned here; bring a file of their syllables in pinyin.")
        samples = Sound.coerce(sound).to_audio()
        emissions = self.listen(samples)
        said = self._find_words(emissions, text, voice) if self.names_letters else self._find(emissions, text, voice)
        return Alignment(*to_phonemes(list(said), samples))

    @property
    def names_letters(self) -> bool:
        """Whether labels are letters of words; else they are phonemes."""
        return SEPARATOR in self.labels

    def listen(self, samples: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "T V"]:
        """Log-probabilities of the labels; labels that stand for nothing that is said have none."""
        return np.array(_listen(self.network, self.params, self.head, samples))

    # ---- phonemes

    def _find(self, emissions: Float32[np.ndarray, "T V"], text: str | None, voice: str) -> Iterator[Said]:
        if text is None:
            for span in self._heard(emissions):
                yield Said((self.labels[span.label],), (1.0,), span.first, span.last)
            return
        spoken = speak(text, voice)
        phonemes = [phoneme for phoneme in spoken.phonemes if phoneme.symbol != PAUSE]
        labels, first_ones = [self._labels_of(p.symbol) for p in phonemes], first_of_words(phonemes, spoken.words)
        if not any(labels):
            raise InputError(f"The text {shown(text)} has no sound that lips show; accepted is what is said.")
        spans = iter(align_labels(emissions, [label for some in labels for label in some], self.blank))
        for number, (phoneme, some) in enumerate(zip(phonemes, labels, strict=True)):
            own = [next(spans) for _ in some]
            if own:
                yield Said((phoneme.symbol,), (1.0,), own[0].first, own[-1].last, number in first_ones)

    def _labels_of(self, symbol: str) -> list[int]:
        """The longest labels that make a phoneme up; where there is none, one that looks the same on the lips."""
        rest, found = "".join(c for c in symbol if c not in STRESS), []
        while rest:
            length = next((n for n in range(len(rest), 0, -1) if rest[:n] in self._numbers), 0)
            if length:
                found.append(self._numbers[rest[:length]])
            rest = rest[length or 1 :]
        return found or self._alike(symbol)

    def _alike(self, symbol: str) -> list[int]:
        units = _units_of(symbol)
        if not units:
            return []  # a sound that does not move the lips
        number = next((number for label, number in self._numbers.items() if _units_of(label) == units), None)
        if number is None:
            raise InputError(f"The recogniser has no label for the sound {symbol!r} of the text, nor one like it.")
        return [number]

    # ---- words

    def _find_words(self, emissions: Float32[np.ndarray, "T V"], text: str | None, voice: str) -> Iterator[Said]:
        words = self._heard_words(emissions) if text is None else self._spelled_words(emissions, text)
        for word, first, last in words:
            symbols = [p.symbol for p in speak(word.lower(), voice).phonemes if p.symbol != PAUSE]
            shares = [VOWEL_SHARE if _is_vowel(symbol) else 1.0 for symbol in symbols]
            yield Said(tuple(symbols), tuple(shares), first, last, True)

    def _spelled_words(self, emissions: Float32[np.ndarray, "T V"], text: str) -> Iterator[tuple[str, int, int]]:
        words = []
        for word in unicodedata.normalize("NFC", text).split():
            letters = [self._numbers[form] for c in word if (form := self._form_of(c))]
            if letters:
                words.append((word, letters))
            elif any(map(str.isalnum, word)):
                raise InputError(f"The recogniser has no letters for {shown(word)}; write it in the letters it knows.")
        if not words:
            raise InputError("The text has no words; accepted is what is said in the recording.")
        between, labels = self._numbers[SEPARATOR], []
        for _, letters in words:
            labels += [*letters, between]
        spans = iter(align_labels(emissions, labels[:-1], self.blank))
        for word, letters in words:
            own = [next(spans) for _ in letters]
            next(spans, None)  # the separator
            yield word, own[0].first, own[-1].last

    def _heard_words(self, emissions: Float32[np.ndarray, "T V"]) -> Iterator[tuple[str, int, int]]:
        word: list[Span] = []
        separator = self._numbers[SEPARATOR]
        for span in [*self._heard(emissions), Span(separator, 0, 0)]:
            if span.label != separator:
                word.append(span)
            elif word:
                yield "".join(self.labels[one.label] for one in word), word[0].first, word[-1].last
                word = []

    def _form_of(self, character: str) -> str | None:
        """A character as the labels have it: models know capitals or small letters."""
        forms = (character, character.upper(), character.lower())
        return next((form for form in forms if form in self._numbers), None)

    # ---- labels

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: n for n, label in enumerate(self.labels) if n != self.blank and label and label not in SPECIAL}

    def _heard(self, emissions: Float32[np.ndarray, "T V"]) -> Sequence[Span]:
        silent = set(range(len(self.labels))) - set(self._numbers.values())
        spans = hear_labels(emissions, silent)
        if all(self.labels[span.label] == SEPARATOR for span in spans):
            raise InputError(
                "The recogniser hears no speech in the recording; accepted is one in which something is said."
            )
        return spans


def _blank_of(folder: Path) -> Any:
    return read_json(folder / "config.json").get("pad_token_id")


def _units_of(symbol: str) -> tuple[str, ...]:
    table = unit_table()
    letters = [c for c in unicodedata.normalize("NFC", symbol) if c in table.ipa]
    return tuple(piece.unit for piece in spell("".join(letters), 0.0, 1.0, "ipa", table)) if letters else ()


def _is_vowel(symbol: str) -> bool:
    """Whether its first sound is one."""
    units = _units_of(symbol)
    return bool(units) and unit_table().rank(units[0]) == unit_table().rank("a")


@functools.partial(jax.jit, static_argnums=0)
def _listen(network: Network, params: Params, head: Any, samples: Float[Array, " n"]) -> Float[Array, "T V"]:
    states = network.bind(params)(standardise(samples)[None])[0, :, -1]
    return jax.nn.log_softmax(states @ head[0] + head[1][None])
