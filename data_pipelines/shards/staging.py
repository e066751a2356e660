"""Which clips are encoded already: staged one file each while a run lasts, then together in shards.

    <shard_dir>/.staged/128x224x33/<clip>-<key>.array_record      finished, not in shards yet
    <shard_dir>/128x224x33/index.json                             [{clip, key, records, enlargement}] as in the shards

Every step ends in a rename, so a kill at any point leaves a state that the next run goes on from.
"""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import named, read_json, refusal, replaced_folder, shown, write_json
from data_pipelines.shards.array_records import count_records, read_records, write_records
from data_pipelines.shards.buckets import Bucket
from data_pipelines.shards.dataset import list_shards, write_dataset
from data_pipelines.shards.schema import ACTAVATAR, EmptyPrompt, deserialize_record

LARGEST_INDEX = 2**30  # bytes; some hundred for each clip


@dataclass(frozen=True)
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


def read_index(folder: Path) -> list[IndexRow]:
    """The clips of a dataset, in the order of its shards."""
    return read_json(folder / "index.json", list[IndexRow], limit=LARGEST_INDEX)


class Staging:
    """The finished clips of one shard folder.

    Raises InputError if the folder holds records made with other settings than `settings`, or of other clips only:
    shards hold exactly the clips of one clip folder, so a second clip folder would throw the first one's out.
    """

    def __init__(self, shard_dir: Path, settings: dict[str, Any], clips: Collection[str]):
        self.shard_dir, self.settings = shard_dir, settings
        folders = [path.parent for path in shard_dir.glob("[!.]*/index.json")]
        self.written = {folder.name: _Written(folder, settings) for folder in folders}
        known = {entry.clip for written in self.written.values() for entry in written.ranges}
        if known and known.isdisjoint(clips):
            raise InputError(f"{shard_dir}: holds encoded clips of another clip folder; give an empty shard folder")

    def ensure_records(self, bucket: Bucket, entry: DatasetEntry, make: Callable[[], Iterable[bytes]]) -> bool:
        """Has the clip's records staged or written; True if `make` was called for them."""
        path = self._staged(bucket, entry)
        if path.is_file() or entry in self._ranges(bucket):
            return False
        write_records(path, make())
        return True

    def commit_bucket(self, bucket: Bucket, entries: list[DatasetEntry], empty_prompt: EmptyPrompt) -> None:
        """Writes the bucket's dataset of exactly these clips, unless it is there."""
        final = self.shard_dir / str(bucket)
        counts = [self._count(bucket, entry) for entry in entries]
        index = [IndexRow(e.clip, e.key, n, e.enlargement) for e, n in zip(entries, counts, strict=True)]
        if final.name in self.written and self.written[final.name].index == index:
            return
        first = deserialize_record(self._records(bucket, entries[0])[0], self.settings.get("system", ACTAVATAR))
        metadata = self.settings | {
            "bucket": [bucket.height, bucket.width],
            "records": sum(counts),
            "latent_shape": list(first["latents"].shape),
            "audio_shape": list(first["audio_feats"].shape),
            "text_dim": first["text_embeds"].shape[1],
            "empty_prompt": empty_prompt.to_dict(),
        }
        records = (record for entry in entries for record in self._records(bucket, entry))
        with replaced_folder(final) as partial:
            write_dataset(partial, records, sum(counts), self.settings["records_per_shard"], metadata)
            write_json(partial / "index.json", [asdict(row) for row in index])

    def clean_up(self, keep: Collection[Bucket]) -> None:
        """Removes the staged files, which all are in shards now, and datasets of buckets without a clip."""
        for name in self.written.keys() - {str(bucket) for bucket in keep}:
            shutil.rmtree(self.shard_dir / name)
        shutil.rmtree(self.shard_dir / ".staged", ignore_errors=True)

    def _staged(self, bucket: Bucket, entry: DatasetEntry) -> Path:
        return self.shard_dir / ".staged" / str(bucket) / f"{entry.clip}-{entry.key}.array_record"

    def _ranges(self, bucket: Bucket) -> dict[DatasetEntry, range]:
        return self.written[str(bucket)].ranges if str(bucket) in self.written else {}

    def _count(self, bucket: Bucket, entry: DatasetEntry) -> int:
        positions = self._ranges(bucket).get(entry)
        return count_records(self._staged(bucket, entry)) if positions is None else len(positions)

    def _records(self, bucket: Bucket, entry: DatasetEntry) -> list[bytes]:
        if entry in self._ranges(bucket):
            return list(self.written[str(bucket)].read(entry))
        return read_records(self._staged(bucket, entry))


class _Written:
    """A dataset that an earlier run finished."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        stored = read_json(folder / "metadata.json", limit=LARGEST_INDEX)
        differing = [
            f"{key}: {shown(stored.get(key))} there, {shown(settings[key])} now"
            for key in settings
            if stored.get(key) != settings[key]
        ]
        if differing:
            accepted = "accepted is an empty shard folder or the same"
            raise refusal(f"{named(folder)}: encoded with other settings, {accepted}:", differing)
        self.per_shard = stored["records_per_shard"]
        self.paths = list_shards(folder)
        self.index = read_index(folder)
        ends = accumulate(row.records for row in self.index)
        self.ranges = {
            DatasetEntry(row.clip, row.key): range(end - row.records, end)
            for row, end in zip(self.index, ends, strict=True)
        }

    def read(self, entry: DatasetEntry) -> Iterator[bytes]:
        """The clip's serialized records, which may lie in several shards."""
        wanted = self.ranges[entry]
        for shard in range(wanted.start // self.per_shard, (wanted.stop - 1) // self.per_shard + 1):
            first = shard * self.per_shard
            inside = range(max(wanted.start - first, 0), min(wanted.stop - first, self.per_shard))
            yield from read_records(self.paths[shard], inside)
