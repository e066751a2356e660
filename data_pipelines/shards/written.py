"""Shards and the clips in them, and the dataset that an earlier run has made of them."""

import os
import shutil
from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from actavatar_jax.storage import Place, fetched, named, read_json, refusal, shown
from data_pipelines.shards.array_records import read_records, write_records
from data_pipelines.shards.dataset import list_shards, read_lengths

LARGEST_INDEX = 2**30  # bytes; some hundred for each clip


@dataclass(frozen=True, order=True)
class DatasetEntry:
    """A clip in a dataset; `key` names the contents of its files and the settings."""

    clip: str
    key: str
    enlargement: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class IndexRow:
    """A clip in `index.json`, with the number of its records, and by how much its pictures were enlarged for them.

    Below 1 they were made smaller; datasets from before that was written down do not know it.
    """

    clip: str
    key: str
    records: int
    enlargement: float | None = field(default=None, compare=False)

    @property
    def entry(self) -> DatasetEntry:
        return DatasetEntry(self.clip, self.key, self.enlargement)


@dataclass(frozen=True)
class Shard:
    """A file of records, and the clips that they are of, in order."""

    path: Place
    rows: list[IndexRow]
    places: tuple[range, ...] | None = None  # of the rows' records in the file; None: the file has them alone

    @cached_property
    def entries(self) -> frozenset[DatasetEntry]:
        return frozenset(row.entry for row in self.rows)

    @property
    def length(self) -> int:
        return sum(row.records for row in self.rows)

    @property
    def first(self) -> str:
        return self.rows[0].clip if self.rows else ""

    def only(self, wanted: Set[DatasetEntry]) -> "Shard":
        """This shard with the wanted clips; itself where these are all."""
        if self.entries <= wanted:
            return self
        pairs = [pair for pair in zip(self.rows, self._places(), strict=True) if pair[0].entry in wanted]
        return Shard(self.path, [row for row, _ in pairs], tuple(place for _, place in pairs))

    def without(self, others: Set[DatasetEntry]) -> "Shard":
        return self.only(self.entries - others)

    def read(self) -> list[bytes]:
        """Its serialized records."""
        with fetched(self.path) as path:
            if self.places is None:
                return read_records(path)
            return [record for place in self.places for record in read_records(path, place)]

    def put(self, target: Path) -> None:
        """Has it under another name, the same file wherever the file system can do that."""
        if self.places is not None:
            write_records(target, self.read())
            return
        try:
            os.link(self.path, target)
        except OSError:  # there are no links here
            shutil.copyfile(self.path, target)

    def _places(self) -> tuple[range, ...]:
        if self.places is not None:
            return self.places
        places, start = [], 0
        for row in self.rows:
            places.append(range(start, start + row.records))
            start += row.records
        return tuple(places)


class WrittenDataset:
    """A dataset that an earlier run finished. Raises InputError where it was made with other settings."""

    def __init__(self, folder: Place, settings: dict[str, Any]):
        self.folder = folder
        stored, self.index = self._read()
        differing = [
            f"{key}: {shown(stored.get(key))} there, {shown(settings[key])} now"
            for key in settings
            if stored.get(key) != settings[key]
        ]
        if differing:
            accepted = "accepted is an empty shard folder or the same"
            raise refusal(f"{named(folder)}: encoded with other settings, {accepted}:", differing)
        self.entries = frozenset(row.entry for row in self.index)

    def shards(self) -> list[Shard]:
        """Its shards; a clip of an older dataset may lie in two."""
        shards, rows = [], list(reversed(self.index))
        for path, length in self._files():
            inside, left = [], length
            while left:
                row = rows.pop()
                taken = min(row.records, left)
                inside.append(replace(row, records=taken))
                if taken < row.records:
                    rows.append(replace(row, records=row.records - taken))
                left -= taken
            shards.append(Shard(path, inside))
        return shards

    def _read(self) -> tuple[dict[str, Any], list[IndexRow]]:
        """What made the records, and the clips."""
        return read_json(self.folder / "metadata.json", limit=LARGEST_INDEX), read_index(self.folder)

    def _files(self) -> list[tuple[Place, int]]:
        """The shards in order, with the numbers of their records."""
        return list(zip(list_shards(self.folder), read_lengths(self.folder), strict=True))


def read_index(folder: Path) -> list[IndexRow]:
    """The clips of a dataset, in the order of its shards."""
    return read_json(folder / "index.json", list[IndexRow], limit=LARGEST_INDEX)
