"""One window of a clip through the frozen encoders: the record that shards store and batches are made of."""

import functools
import zlib
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.shards.schema import ACTAVATAR, BFLOAT16, LATENT_LAYOUT, SCHEMA_VERSION, EmptyPrompt, Record


@runtime_checkable
class FrozenEncoders(Protocol):
    """What is used of `actavatar_jax.encoders.Encoders`; shapes are given there."""

    tokenizer: Any
    system: str  # that they are of, such as "actavatar"

    def fingerprint(self) -> dict[str, str]: ...
    def text(self, prompts: list[StructuredPrompt], *, anchors: bool) -> tuple[np.ndarray, np.ndarray]: ...
    def audio(self, samples: np.ndarray, num_frames: int) -> np.ndarray: ...
    def video(self, frames: np.ndarray) -> np.ndarray: ...
    def fields(self, frames: np.ndarray, seed: int, mouths: Any = None) -> dict[str, np.ndarray]: ...


def describe_records(encoders: FrozenEncoders, frames: int, anchors: bool | None = True) -> dict[str, Any]:
    """What all records of `frames` frames that these encoders make share; stored beside them and checked.

    `anchors`: whether their texts have labels and anchors or are bare (`prompt.forms`); None where no prompt has a
    phase, so that both are the same.
    """
    return {
        "schema": SCHEMA_VERSION,
        "layout": LATENT_LAYOUT,
        "latents": "normalised posterior mean",
        "fps": FPS,
        "frames": frames,
        "encoders": encoders.fingerprint(),
        "anchors": anchors,
        **({} if encoders.system == ACTAVATAR else {"system": encoders.system}),
    }


class RecordMaker:
    """Makes records of `record_features()`, of texts with `anchors` or bare ones.

    A prompt that many windows share is encoded once.
    """

    def __init__(self, encoders: FrozenEncoders, anchors: bool = True):
        self.encoders, self.anchors = encoders, anchors
        self._tokens = functools.lru_cache(maxsize=64)(self._encode_tokens)

    def __call__(
        self,
        clip: str,
        start: int,
        frames: UInt8[np.ndarray, "F h w 3"],
        samples: Float[np.ndarray, " n"],
        prompt: StructuredPrompt,
        mouths: Float[np.ndarray, "F 4"] | None = None,
    ) -> Record:
        """The record of a window that begins at frame `start` of `clip`; `samples` are 640 per frame.

        `mouths`: the box to replace in every frame where somebody knows it, for systems that have that task.

        Raises InputError for a prompt that does not fit the text encoder, and FloatingPointError, which names them, for
        values that are not finite.
        """
        record = {
            "clip": clip,
            "start": start,
            "latents": np.asarray(self.encoders.video(frames)).astype(BFLOAT16),
            **self.encode_text(prompt),
            "audio_feats": np.asarray(self.encoders.audio(samples, len(frames))).astype(np.float16),
        }
        # What chance decides about a window, such as where a continuation begins, is the same whenever it is encoded.
        more = self.encoders.fields(frames, zlib.crc32(f"{clip}-{start}".encode()), mouths)
        floats = {name: value.astype(BFLOAT16) for name, value in more.items() if value.dtype == np.float32}
        record |= more | floats
        for name in ("latents", "text_embeds", "audio_feats", *floats):
            if not np.isfinite(record[name].astype(np.float32)).all():
                raise FloatingPointError(f"its {name} hold values that are not finite")
        return record

    def encode_empty_prompt(self) -> EmptyPrompt:
        """What stands for dropped text."""
        tokens, _, embeds = self._tokens(StructuredPrompt(""))
        return EmptyPrompt(tokens, embeds.astype(BFLOAT16))

    def encode_text(self, prompt: StructuredPrompt) -> Record:
        """The fields of a record that come from its prompt. Raises InputError if it does not fit the text encoder."""
        tokens, phase_ids, embeds = self._tokens(prompt)
        return {
            "text_tokens": tokens,
            "phase_ids": phase_ids.astype(np.int8),
            "text_embeds": embeds.astype(BFLOAT16),
            "phase_windows": prompt.windows()[: len(prompt.phases)],
        }

    def _encode_tokens(self, prompt: StructuredPrompt) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens, phase ids and embeddings of the real tokens."""
        embeds, phase_ids = (np.asarray(value)[0] for value in self.encoders.text([prompt], anchors=self.anchors))
        tokens = prompt.tokenise(self.encoders.tokenizer, len(embeds), anchors=self.anchors)
        real = len(tokens.ids)
        assert np.array_equal(phase_ids[:real], tokens.phase_ids), "text encoder and prompt disagree on phase ids"
        return tokens.ids, phase_ids[:real], embeds[:real]
