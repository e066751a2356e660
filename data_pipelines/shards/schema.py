"""What one record holds, schema version 1, and how it is stored as bytes.

A record is one window of one clip. All its tensors are stored as bytes, bfloat16 natively, each with its own shape.
"""

import base64
import functools
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Float, Int32
from tensorflow_datasets.core import example_serializer

SCHEMA_VERSION = 1
LATENT_LAYOUT = "THWC"  # of the latents, which are the normalised posterior mean
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ACTAVATAR, ECHOMIMIC = "actavatar", "echomimic"  # systems that records are made for

Record = dict[str, Any]


@functools.cache
def record_features(system: str = ACTAVATAR, regions: bool = False) -> tfds.features.FeaturesDict:
    """What one record holds (T latent frames, F frames, S real text tokens, P phases, I picture tokens, K tasks).

    `regions`: whether it also says where hands and faces are, as pairs of videos may.
    """

    def tensor(dtype: Any, *shape: int | None) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    tasks = {
        "picture": tensor(BFLOAT16, None, None),  # [I, D] of the first frame
        "tasks": tensor(np.int8, None),  # [K] of `echomimic.TRAINED`
        "known": tensor(BFLOAT16, None, None, None, None, None),  # [K, T, H, W, 4 + C] mask and latents
    }
    tasks = tasks if system == ECHOMIMIC else {}
    more = {"regions": tensor(np.uint8, None, None, None)} if regions else {}  # [T, H, W], 1 where there is one
    return tfds.features.FeaturesDict(
        {
            "clip": tfds.features.Text(),
            "start": tfds.features.Scalar(np.int32),  # first frame of the window in the clip
            "latents": tensor(BFLOAT16, None, None, None, None),  # [T, H, W, C]
            "text_tokens": tensor(np.int32, None),  # [S], ends with the end token
            "phase_ids": tensor(np.int8, None),  # [S], 0 base, 1..P phases; the end token as TokenisedPrompt has it
            "text_embeds": tensor(BFLOAT16, None, None),  # [S, D]
            "phase_windows": tensor(np.float32, None, 2),  # [P, 2] seconds from the start of the window
            "audio_feats": tensor(np.float16, None, None, None),  # [F, layers, E]; of EchoMimicV3 also [2F, 1, E]
        }
        | tasks
        | more
    )


@functools.cache
def _serializer(system: str, regions: bool) -> example_serializer.ExampleSerializer:
    return example_serializer.ExampleSerializer(record_features(system, regions).get_serialized_info())


def serialize_record(record: Record) -> bytes:
    """The same bytes for the same record, always (protobuf maps have no order of their own)."""
    kind = ECHOMIMIC if "known" in record else ACTAVATAR, "regions" in record
    example = _serializer(*kind).get_tf_example(record_features(*kind).encode_example(record))
    return example.SerializeToString(deterministic=True)


def deserialize_record(data: bytes, system: str = ACTAVATAR) -> Record:
    return record_features(system).deserialize_example_np(data)


@dataclass(frozen=True, eq=False)
class EmptyPrompt:
    """The encoded empty prompt, which takes the place of dropped text."""

    tokens: Int32[np.ndarray, " S"]
    embeds: Float[np.ndarray, "S D"]  # bfloat16

    def to_dict(self) -> dict[str, Any]:
        data = base64.b64encode(self.embeds.astype(BFLOAT16).tobytes()).decode()
        return {"tokens": self.tokens.tolist(), "embeds_bfloat16": data}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "EmptyPrompt":
        tokens = np.array(stored["tokens"], np.int32)
        embeds = np.frombuffer(base64.b64decode(stored["embeds_bfloat16"]), BFLOAT16)
        return cls(tokens, embeds.reshape(len(tokens), -1))
