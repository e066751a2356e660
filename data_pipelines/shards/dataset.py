"""Datasets of encoded clips: tfds datasets in ArrayRecord files, one per bucket, made without TensorFlow.

<shard_dir>/128x224x33/clips-train.array_record-00000-of-00003 ...   the records
                       features.json, dataset_info.json              what tfds reads
                       metadata.json                                 what made the records; the empty prompt
                       index.json                                    which clips are inside, in order (of `encode`)
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from google.protobuf.json_format import Error as ParserError

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, cut, named, read_json
from data_pipelines.shards.array_records import write_records
from data_pipelines.shards.schema import ACTAVATAR, EmptyPrompt, record_features

# What tfds, the parser of its files, and array_record raise.
DAMAGE = (RuntimeError, ValueError, TypeError, KeyError, AssertionError, ImportError, ParserError)
LARGEST_INFO = 2**30  # bytes of a JSON file; `dataset_info.json` has the length of every shard


@dataclass(frozen=True)
class Records:
    """A dataset's records by number, for grain; InputError for one that cannot be read (each has a checksum)."""

    folder: Path
    source: Any  # of tfds

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, number: int) -> dict[str, Any]:
        try:
            return self.source[number]
        except DAMAGE as error:
            raise _damaged(self.folder, f"record {number}", error) from error


@dataclass(frozen=True)
class EncodedDataset:
    """One bucket's records: `source[i]` is a record, `metadata` what `metadata.json` holds."""

    folder: Path
    source: Records
    metadata: dict[str, Any]

    @property
    def empty_prompt(self) -> EmptyPrompt:
        return EmptyPrompt.from_dict(self.metadata["empty_prompt"])

    @property
    def anchors(self) -> bool | None:
        """`describe_records`'s; all texts had them before that was written down."""
        return self.metadata.get("anchors", True)

    @property
    def system(self) -> str:
        """That the records are made for."""
        return self.metadata.get("system", ACTAVATAR)


def open_dataset(folder: Path) -> EncodedDataset:
    """Opens one bucket's folder. Nothing of a record is read yet. InputError where its files do not fit together."""
    if not (folder / "dataset_info.json").is_file():
        raise InputError(f"{folder}: no encoded clips here; make them with `encode`")
    for name in ("dataset_info.json", "features.json"):
        read_json(folder / name, limit=LARGEST_INFO)
    metadata = read_json(folder / "metadata.json", limit=LARGEST_INFO)
    read_json(folder / "metadata.json", _Metadata, limit=LARGEST_INFO)
    try:
        source = tfds.builder_from_directory(folder).as_data_source("train")
        len(source)
    except DAMAGE as error:
        raise _damaged(folder, "a file", error) from error
    return EncodedDataset(folder, Records(folder, source), metadata)


@dataclass(frozen=True)
class _Metadata:
    """What a dataset must have to be read."""

    fps: int
    encoders: dict[str, str]
    empty_prompt: dict[str, Any]
    anchors: bool | None = True


def _damaged(folder: Path, what: str, error: Exception) -> InputError:
    reason = cut(str(error), 120)
    return InputError(f"{named(folder)}: {what} is damaged ({reason}); remove the folder and run `encode` again.")


def list_shards(folder: Place) -> list[Place]:
    """The shards of a dataset as it is on a disk, in order."""
    return sorted(folder.glob("clips-train.array_record-*"))


def write_dataset(
    folder: Path, records: Iterator[bytes], count: int, records_per_shard: int, metadata: dict[str, Any]
) -> None:
    """Writes `count` serialized records as a tfds dataset into an empty `folder`.

    The `metadata` get a digest of the records.
    """
    contents = hashlib.sha256()

    def taken(length: int) -> Iterator[bytes]:
        for _ in range(length):
            record = next(records)
            contents.update(record)
            yield record

    lengths = [min(records_per_shard, count - first) for first in range(0, count, records_per_shard)]
    for shard, length in enumerate(lengths):
        write_records(shard_path(folder, shard, len(lengths)), taken(length))
    describe_dataset(folder, lengths, metadata | {"contents": contents.hexdigest()[:16]})


def shard_path(folder: Path, shard: int, count: int) -> Path:
    """Where shard number `shard` of `count` lies."""
    return Path(_template(folder).sharded_filepath(shard_index=shard, num_shards=count))


def read_lengths(folder: Path) -> list[int]:
    """The number of records in each shard of a dataset."""
    try:
        return list(tfds.builder_from_directory(folder).info.splits["train"].shard_lengths)
    except DAMAGE as error:
        raise _damaged(folder, "a file", error) from error


def describe_dataset(folder: Path, lengths: Sequence[int], metadata: dict[str, Any]) -> None:
    """Makes a tfds dataset of the shards in `folder`, which have so many records each."""
    template = _template(folder)
    size = sum(path.stat().st_size for path in list_shards(folder))
    split = tfds.core.SplitInfo(name="train", shard_lengths=list(lengths), num_bytes=size, filename_template=template)
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=record_features(metadata.get("system", ACTAVATAR), metadata.get("regions", False)),
        split_infos=[split],
        filename_template=template,
        check_data=False,  # the check would read through TensorFlow
        description="Windows of talking clips, encoded by the frozen parts of a model folder.",
        metadata=tfds.core.MetadataDict(metadata),
    )


def _template(folder: Path) -> tfds.core.ShardedFileTemplate:
    return tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name="clips", split="train", filetype_suffix="array_record"
    )
