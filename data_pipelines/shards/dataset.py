"""Encoded clips, schema version 1: tfds datasets in ArrayRecord files, one per bucket, made without TensorFlow.

    <shard_dir>/128x224x33/clips-train.array_record-00000-of-00003 ...   the records
                           features.json, dataset_info.json              what tfds reads
                           metadata.json                                 what made the records; the empty prompt
                           index.json                                    which clips are inside, in order

A record is one window of one clip. All its tensors are stored as bytes, bfloat16 natively, each with its own shape.
"""

import base64
import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float, Int32
from tensorflow_datasets.core import example_serializer

from actavatar_jax.errors import InputError
from actavatar_jax.storage.writing import replaced_file

SCHEMA = 1
LAYOUT = "THWC"  # of the latents, which are the normalised posterior mean
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

Record = dict[str, Any]


@functools.cache
def features() -> tfds.features.FeaturesDict:
    """What one record holds (T latent frames, F frames, S real text tokens, P phases)."""

    def tensor(dtype: Any, *shape: int | None) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding=tfds.features.Encoding.BYTES)

    return tfds.features.FeaturesDict(
        {
            "clip": tfds.features.Text(),
            "start": tfds.features.Scalar(np.int32),  # first frame of the window in the clip
            "latents": tensor(BFLOAT16, None, None, None, None),  # [T, H, W, C]
            "text_tokens": tensor(np.int32, None),  # [S], ends with the end token
            "phase_ids": tensor(np.int8, None),  # [S], 0 base and end token, 1..P phases
            "text_embeds": tensor(BFLOAT16, None, None),  # [S, D]
            "phase_windows": tensor(np.float32, None, 2),  # [P, 2] seconds from the start of the window
            "audio_feats": tensor(np.float16, None, None, None),  # [F, layers, E]
        }
    )


@functools.cache
def _serializer() -> example_serializer.ExampleSerializer:
    return example_serializer.ExampleSerializer(features().get_serialized_info())


def serialize(record: Record) -> bytes:
    """The same bytes for the same record, always (protobuf maps have no order of their own)."""
    return _serializer().get_tf_example(features().encode_example(record)).SerializeToString(deterministic=True)


def deserialize(data: bytes) -> Record:
    return features().deserialize_example_np(data)


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


@dataclass(frozen=True)
class EncodedDataset:
    """One bucket's records: `source[i]` is a record, `metadata` what `metadata.json` holds."""

    folder: Path
    source: Any  # a random-access source for grain
    metadata: dict[str, Any]

    @property
    def empty_prompt(self) -> EmptyPrompt:
        return EmptyPrompt.from_dict(self.metadata["empty_prompt"])


def open_dataset(folder: Path) -> EncodedDataset:
    """Opens one bucket's folder. Nothing of a record is read yet."""
    if not (folder / "dataset_info.json").is_file():
        raise InputError(f"{folder}: no encoded clips here; make them with `encode`")
    builder = tfds.builder_from_directory(folder)
    return EncodedDataset(folder, builder.as_data_source("train"), dict(builder.info.metadata))


def find_datasets(folders: Sequence[Path]) -> list[Path]:
    """Bucket folders among `folders` and directly below them, sorted."""
    found = set()
    for folder in folders:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
        datasets = [path for path in [folder, *inside] if (path / "dataset_info.json").is_file()]
        if not datasets:
            raise InputError(f"{folder}: no encoded clips here or in a folder of it; make them with `encode`")
        found.update(path.resolve() for path in datasets)
    return sorted(found)


# ---- writing


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """One ArrayRecord file of serialized records, under its name only when it is complete."""
    with replaced_file(path) as partial:
        writer = ArrayRecordWriter(str(partial), "group_size:1,uncompressed")
        try:
            for record in records:
                writer.write(record)
        finally:
            writer.close()


def read_records(path: Path, positions: range | None = None) -> list[bytes]:
    """Serialized records of one ArrayRecord file, all or those at `positions`."""
    with ArrayRecordDataSource([str(path)]) as source:
        return list(source.__getitems__(range(len(source)) if positions is None else positions))


def count_records(path: Path) -> int:
    with ArrayRecordDataSource([str(path)]) as source:
        return len(source)


def shard_paths(folder: Path) -> list[Path]:
    """The shards of a dataset, in order."""
    return sorted(folder.glob("clips-train.array_record-*"))


def write_dataset(
    folder: Path, records: Iterator[bytes], count: int, records_per_shard: int, metadata: dict[str, Any]
) -> None:
    """Writes `count` serialized records as a tfds dataset into an empty `folder`."""
    lengths = [min(records_per_shard, count - first) for first in range(0, count, records_per_shard)]
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name="clips", split="train", filetype_suffix="array_record"
    )
    size = 0
    for shard, length in enumerate(lengths):
        path = Path(template.sharded_filepath(shard_index=shard, num_shards=len(lengths)))
        write_records(path, (next(records) for _ in range(length)))
        size += path.stat().st_size
    split = tfds.core.SplitInfo(name="train", shard_lengths=lengths, num_bytes=size, filename_template=template)
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(),
        split_infos=[split],
        filename_template=template,
        check_data=False,  # the check would read through TensorFlow
        description="Windows of talking clips, encoded by the frozen parts of a model folder.",
        metadata=tfds.core.MetadataDict(metadata),
    )
