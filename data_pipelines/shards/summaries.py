"""Datasets to look at, wherever they lie: what they hold in numbers, and records that can be shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, StorePath, read_json
from data_pipelines.shards.cached import list_on_store
from data_pipelines.shards.dataset import (
    LARGEST_INFO,
    EncodedDataset,
    describe_dataset,
    list_shards,
    open_dataset,
    read_lengths,
    shard_path,
)
from data_pipelines.shards.listed import read_listing
from data_pipelines.shards.written import IndexRow, read_index


@dataclass(frozen=True)
class DatasetSummary:
    """A dataset by its name in the folder: numbers of its records and shards, its size, and the clips in it (None where
    it does not say them). `shown` has its records; of a dataset on a store only those of its first shard."""

    name: str
    records: int
    shards: int
    bytes: int
    index: list[IndexRow] | None
    shown: EncodedDataset


def summarise_datasets(folder: Place, scratch: Path) -> list[DatasetSummary]:
    """The datasets in a folder and below it. Of one on a store the first shard alone is fetched, into `scratch`."""
    if isinstance(folder, StorePath):
        of = {True: _of_listed, False: _of_copied}
        return [of[listed](path, scratch / path.name) for path, listed in list_on_store(folder)]
    return [_of_disk(path, folder) for path in _list_on_disk(folder)]


def _list_on_disk(folder: Path) -> list[Path]:
    """Here and up to three folders below: of `encode` one per bucket, of puppets one per text and part, of pairs one
    per half and bucket."""
    found = {path.parent for levels in range(4) for path in folder.glob("*/" * levels + "dataset_info.json")}
    inside = {path: path.relative_to(folder).parts for path in found}
    return sorted(path for path, parts in inside.items() if not any(_is_passing(name) for name in parts))


def _of_disk(path: Path, folder: Path) -> DatasetSummary:
    dataset, shards = open_dataset(path), list_shards(path)
    index = read_index(path) if (path / "index.json").is_file() else None
    name = str(path.relative_to(folder)) if path != folder else path.name
    return DatasetSummary(name, len(dataset.source), len(shards), _size(shards), index, dataset)


def _of_listed(path: StorePath, target: Path) -> DatasetSummary:
    listing = read_listing(path)
    first = [(path / shard.name, shard.records) for shard in listing.shards[:1]]
    size, records = sum(shard.bytes for shard in listing.shards), sum(shard.records for shard in listing.shards)
    shown = _open_first(first, listing.metadata, target)
    return DatasetSummary(path.name, records, len(listing.shards), size, listing.index, shown)


def _of_copied(path: StorePath, target: Path) -> DatasetSummary:
    described = target.with_name(f"{target.name}.described")
    described.mkdir(parents=True)
    for file in path.iterdir():
        if file.name.endswith(".json"):
            file.get(described / file.name)
    shards, lengths = list_shards(path), read_lengths(described)
    if len(shards) != len(lengths):
        raise InputError(f"{path}: there are {len(shards)} shards of {len(lengths)}; copy the dataset again.")
    index = read_index(described) if (described / "index.json").is_file() else None
    metadata = read_json(described / "metadata.json", limit=LARGEST_INFO)
    shown = _open_first(list(zip(shards, lengths, strict=True))[:1], metadata, target)
    return DatasetSummary(path.name, sum(lengths), len(shards), _size(shards), index, shown)


def _open_first(first: list[tuple[StorePath, int]], metadata: dict, target: Path) -> EncodedDataset:
    """A dataset in `target` of no or one shard, which has so many records."""
    target.mkdir(parents=True)
    for shard, _ in first:
        shard.get(shard_path(target, 0, 1))
    describe_dataset(target, [records for _, records in first], metadata)
    return open_dataset(target)


def _size(shards: Iterable[Place]) -> int:
    return sum(path.stat().st_size for path in shards)


def _is_passing(name: str) -> bool:
    """Whether a folder is one of an unfinished or killed run."""
    return name.startswith(".") or name.endswith(".partial")
