"""A dataset on an object store: shards that are put up once, and one file that lists them.

<shard_dir>/128x224x33/dataset.json             the shards in order, the clips in them, and what made them
                       <digest>.array_record    a shard; what is not listed is not in the dataset

As it is one object, a dataset changes at one moment, and no shard ever has another name or other contents.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actavatar_jax.storage import Place, StorePath, read_json, write_json
from data_pipelines.shards.written import LARGEST_INDEX, IndexRow, WrittenDataset

NAME = "dataset.json"


@dataclass(frozen=True)
class ListedShard:
    """A shard by its file's name, with the number of its records and bytes."""

    name: str
    records: int
    bytes: int


@dataclass(frozen=True)
class Listing:
    """What the file holds; `index` and `metadata` as the files of these names that a dataset on a disk has."""

    shards: list[ListedShard]
    index: list[IndexRow]
    metadata: dict[str, Any]


def read_listing(folder: StorePath) -> Listing:
    return read_json(folder / NAME, Listing, limit=LARGEST_INDEX)


def write_listing(
    folder: StorePath, shards: Sequence[ListedShard], index: Sequence[IndexRow], metadata: dict[str, Any]
) -> None:
    write_json(folder / NAME, asdict(Listing(list(shards), list(index), metadata)))


class ListedDataset(WrittenDataset):
    """Such a dataset, as `WrittenDataset` is one on a disk."""

    def _read(self) -> tuple[dict[str, Any], list[IndexRow]]:
        self.listing = read_listing(self.folder)
        return self.listing.metadata, self.listing.index

    def _files(self) -> list[tuple[Place, int]]:
        return [(self.folder / shard.name, shard.records) for shard in self.listing.shards]
