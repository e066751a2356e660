"""Staging where the shard folder is on an object store: clips on this machine, shards put up once, datasets listed.

    <scratch>/.../.staged/128x224x33/<clip>-<key>.array_record    finished, not in a shard yet
    <shard_dir>/128x224x33/<digest>.array_record                  a shard;
    <shard_dir>/.staged/128x224x33/packed/<digest>.json           its clips, until
    <shard_dir>/128x224x33/dataset.json                           lists it

Another machine goes on from the shards that are up; clips that wait for their shard to be full are encoded again there.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from actavatar_jax.storage import Place, StorePath, remove_folder, scratch_of
from data_pipelines.shards.array_records import write_records
from data_pipelines.shards.buckets import Bucket
from data_pipelines.shards.listed import NAME, ListedDataset, ListedShard, read_listing, write_listing
from data_pipelines.shards.staging import Staging, name_shard
from data_pipelines.shards.written import DatasetEntry, IndexRow, Shard


def open_staging(shard_dir: Place, settings: dict[str, Any], clips: Collection[str]) -> Staging:
    """The finished clips of a shard folder, wherever it lies; see `Staging`."""
    return _staging_of(shard_dir)(shard_dir, settings, clips)


def has_datasets(shard_dir: Place) -> bool:
    """Whether something has been committed in the folder."""
    return any(shard_dir.glob(f"[!.]*/{_staging_of(shard_dir).index}"))


def _staging_of(shard_dir: Place) -> type[Staging]:
    return StoreStaging if isinstance(shard_dir, StorePath) else Staging


class StoreStaging(Staging):
    """The finished clips of one shard folder on a store."""

    index, dataset = NAME, ListedDataset

    def clean_up(self, keep: Collection[Bucket]) -> None:
        for name in self.written.keys() - {str(bucket) for bucket in keep}:
            (self.shard_dir / name / NAME).unlink(missing_ok=True)
            remove_folder(self.shard_dir / name)
        for bucket in keep:
            folder = self.shard_dir / str(bucket)
            listed = {shard.name for shard in read_listing(folder).shards}
            for path in [path for path in folder.glob("*.array_record") if path.name not in listed]:
                path.unlink(missing_ok=True)
        remove_folder(self.shard_dir / ".staged")

    def _write(self, final: StorePath, shards: list[Shard], index: list[IndexRow], metadata: dict[str, Any]) -> None:
        listed = []
        for shard in shards:
            path = shard.path
            if shard.places is not None:  # some of its clips are gone
                path = self._shard(final.name, name_shard(shard.rows))
                write_records(path, shard.read())
            listed.append(ListedShard(path.name, shard.length, path.stat().st_size))
        write_listing(final, listed, index, metadata)

    def _shard(self, bucket: str, name: str) -> StorePath:
        return self.shard_dir / bucket / f"{name}.array_record"

    def _staged(self, bucket: Bucket, entry: DatasetEntry) -> Path:
        folder = scratch_of(self.shard_dir) / ".staged" / str(bucket)
        return folder / f"{entry.clip}-{entry.key}.array_record"
