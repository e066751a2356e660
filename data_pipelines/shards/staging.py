"""Which clips are encoded already: first one file each, then together in shards, which are never written again.

    <shard_dir>/.staged/128x224x33/<clip>-<key>.array_record        finished, not in a shard yet
    <shard_dir>/.staged/128x224x33/packed/<digest>.array_record     a shard; <digest>.json has its clips
    <shard_dir>/128x224x33/index.json                               [{clip, key, records, enlargement}] as in the shards

Every step ends in a rename, so a kill at any point leaves a state that the next run goes on from.
"""

import shutil
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, read_json, replaced_folder, write_json
from data_pipelines.shards.array_records import count_records, read_records, write_records
from data_pipelines.shards.buckets import Bucket
from data_pipelines.shards.dataset import describe_dataset, shard_path
from data_pipelines.shards.schema import ACTAVATAR, EmptyPrompt, deserialize_record
from data_pipelines.shards.written import LARGEST_INDEX, DatasetEntry, IndexRow, Shard, WrittenDataset
from data_pipelines.table import digest


class Staging:
    """The finished clips of one shard folder.

    Raises InputError if the folder holds records made with other settings than `settings`, or of other clips only:
    shards hold exactly the clips of one clip folder, so a second clip folder would throw the first one's out.
    """

    index, dataset = "index.json", WrittenDataset  # what a finished dataset has, and how it is read

    def __init__(self, shard_dir: Place, settings: dict[str, Any], clips: Collection[str]):
        self.shard_dir, self.settings = shard_dir, settings
        folders = [path.parent for path in shard_dir.glob(f"[!.]*/{self.index}")]
        self.written = {folder.name: self.dataset(folder, settings) for folder in folders}
        known = {entry.clip for written in self.written.values() for entry in written.entries}
        if known and known.isdisjoint(clips):
            raise InputError(f"{shard_dir}: holds encoded clips of another clip folder; give an empty shard folder")
        self.packed: dict[str, list[Shard]] = {}  # of each bucket, by its name
        self.inside: dict[str, set[DatasetEntry]] = {name: set(w.entries) for name, w in self.written.items()}
        for path in sorted(shard_dir.glob(".staged/*/packed/*.json")):
            rows = read_json(path, list[IndexRow], limit=LARGEST_INDEX)
            bucket = path.parents[1].name
            self._add(bucket, Shard(self._shard(bucket, path.stem), rows))

    def has_records(self, bucket: Bucket, entry: DatasetEntry) -> bool:
        """Whether the clip's records are staged or in a shard."""
        return self.is_packed(bucket, entry) or self._staged(bucket, entry).is_file()

    def add_records(self, bucket: Bucket, entry: DatasetEntry, records: Iterable[bytes]) -> None:
        """Stages a clip."""
        write_records(self._staged(bucket, entry), records)

    def is_packed(self, bucket: Bucket, entry: DatasetEntry) -> bool:
        """Whether the clip is in a shard."""
        return entry in self.inside.get(str(bucket), ())

    def count(self, bucket: Bucket, entry: DatasetEntry) -> int:
        """Number of records of a staged clip."""
        return count_records(self._staged(bucket, entry))

    def pack(self, bucket: Bucket, entries: list[DatasetEntry]) -> None:
        """Makes a shard of staged clips, in this order."""
        rows = [IndexRow(e.clip, e.key, self.count(bucket, e), e.enlargement) for e in entries]
        path = self._shard(str(bucket), name_shard(rows))
        write_records(path, (record for entry in entries for record in read_records(self._staged(bucket, entry))))
        listed = self.shard_dir / ".staged" / str(bucket) / "packed" / f"{path.stem}.json"
        write_json(listed, [asdict(row) for row in rows])
        self._add(str(bucket), Shard(path, rows))
        for entry in entries:
            self._staged(bucket, entry).unlink()

    def commit_bucket(self, bucket: Bucket, entries: Collection[DatasetEntry], empty_prompt: EmptyPrompt) -> None:
        """Has the bucket's dataset hold exactly these clips, all in shards.

        Shards stay as they are, but those that hold other clips are written again without them.
        """
        final, wanted = self.shard_dir / str(bucket), set(entries)
        written = self.written.get(final.name)
        old = written.shards() if written else []
        there = written.entries if written else set()
        new = sorted((shard.without(there) for shard in self.packed.get(final.name, ())), key=lambda shard: shard.first)
        shards = [part for part in (shard.only(wanted) for shard in [*old, *new]) if part.length]
        if missing := wanted - {entry for shard in shards for entry in shard.entries}:
            raise InputError(
                f"{final}: the records of {min(missing).clip} are gone; run `encode` for every slice again."
            )
        if shards == old:
            return
        index = merge_rows(shards)
        first = deserialize_record(shards[0].read()[0], self.settings.get("system", ACTAVATAR))
        metadata = self.settings | {
            "bucket": [bucket.height, bucket.width],
            "records": sum(row.records for row in index),
            "latent_shape": list(first["latents"].shape),
            "audio_shape": list(first["audio_feats"].shape),
            "text_dim": first["text_embeds"].shape[1],
            "empty_prompt": empty_prompt.to_dict(),
        }
        self._write(final, shards, index, metadata)

    def _write(self, final: Place, shards: list[Shard], index: list[IndexRow], metadata: dict[str, Any]) -> None:
        with replaced_folder(final) as partial:
            for number, shard in enumerate(shards):
                shard.put(shard_path(partial, number, len(shards)))
            describe_dataset(partial, [shard.length for shard in shards], metadata)
            write_json(partial / "index.json", [asdict(row) for row in index])

    def clean_up(self, keep: Collection[Bucket]) -> None:
        """Removes the staged files, which all are in shards now, and datasets of buckets without a clip."""
        for name in self.written.keys() - {str(bucket) for bucket in keep}:
            shutil.rmtree(self.shard_dir / name)
        shutil.rmtree(self.shard_dir / ".staged", ignore_errors=True)

    def _add(self, bucket: str, shard: Shard) -> None:
        self.packed.setdefault(bucket, []).append(shard)
        self.inside.setdefault(bucket, set()).update(shard.entries)

    def _shard(self, bucket: str, name: str) -> Place:
        """Where a shard is packed."""
        return self.shard_dir / ".staged" / bucket / "packed" / f"{name}.array_record"

    def _staged(self, bucket: Bucket, entry: DatasetEntry) -> Path:
        return self.shard_dir / ".staged" / str(bucket) / f"{entry.clip}-{entry.key}.array_record"


class Packing:
    """Makes shards of a slice's clips as they are staged, so that no more than one shard of each bucket lies twice."""

    def __init__(self, staging: Staging):
        self.staging, self.most = staging, staging.settings["records_per_shard"]
        self.waiting: dict[Bucket, list[DatasetEntry]] = {}
        self.records: dict[Bucket, int] = {}

    def add(self, bucket: Bucket, entry: DatasetEntry) -> None:
        """A clip that is staged, or in a shard already."""
        if self.staging.is_packed(bucket, entry):
            return
        self.waiting.setdefault(bucket, []).append(entry)
        self.records[bucket] = self.records.get(bucket, 0) + self.staging.count(bucket, entry)
        if self.records[bucket] >= self.most:
            self._pack(bucket)

    def end(self) -> None:
        """Packs what is left."""
        for bucket in sorted(self.waiting):
            self._pack(bucket)

    def _pack(self, bucket: Bucket) -> None:
        self.staging.pack(bucket, self.waiting.pop(bucket))
        del self.records[bucket]


def name_shard(rows: Iterable[IndexRow]) -> str:
    """Names what is in a shard of these clips; two of them may have the same files, and so the same key."""
    return digest(*(f"{row.clip} {row.key}" for row in rows))


def merge_rows(shards: Iterable[Shard]) -> list[IndexRow]:
    """The rows of all shards; a clip that lies in two, as older datasets have some, has one."""
    index: list[IndexRow] = []
    for row in (row for shard in shards for row in shard.rows):
        if index and (index[-1].clip, index[-1].key) == (row.clip, row.key):
            row = replace(row, records=index.pop().records + row.records)
        index.append(row)
    return index
