"""Datasets from an object store, on the disk: a record is read from the middle of a shard, which only disks can do.

<scratch>/shards/<digest>/128x224x33/    a dataset of these contents, as others have it on a disk
<scratch>/shards/files/                  its shards, which a later state of the dataset has as well

They stay there. The processes of a machine share them, and the first one fetches.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.storage import (
    StorePath,
    locked_folder,
    named,
    replaced_file,
    replaced_folder,
    scratch_root,
    write_json,
)
from data_pipelines.shards.dataset import describe_dataset, shard_path
from data_pipelines.shards.listed import NAME, read_listing
from data_pipelines.table import digest, map_unordered

INFO = "dataset_info.json"
AT_A_TIME = 8  # shards

log = logging.getLogger(__name__)


def fetch_datasets(folder: StorePath) -> list[Path]:
    """The datasets in a folder on a store and directly below it, whole and on the disk; those that are there already
    are not fetched again. InputError where there is no room for them, StoreError where they cannot be had."""
    return [(_fetch_listed if listed else _fetch_copied)(path) for path, listed in list_on_store(folder)]


def list_on_store(folder: StorePath) -> Iterator[tuple[StorePath, bool]]:
    """The datasets in a folder on a store and directly below it, each with whether `encode` made it there, so that it
    is listed; others were copied from a disk."""
    for path in [folder, *(path for path in folder.iterdir() if not path.name.startswith("."))]:
        if (path / NAME).is_file():
            yield path, True
        elif (path / INFO).is_file():
            yield path, False


@dataclass(frozen=True)
class _File:
    """A shard on the store, and where it is kept on the disk."""

    path: StorePath
    size: int
    kept: Path


def _fetch_listed(folder: StorePath) -> Path:
    """A dataset that `encode` made there."""
    target = _cache() / digest(digest(folder / NAME)) / folder.name
    with _lacking(target) as lacking:
        if lacking:
            listing = read_listing(folder)
            files = [_File(folder / s.name, s.bytes, _cache() / "files" / s.name) for s in listing.shards]
            _fetch(folder, files)
            with replaced_folder(target) as partial:
                for number, file in enumerate(files):
                    os.link(file.kept, shard_path(partial, number, len(files)))
                describe_dataset(partial, [shard.records for shard in listing.shards], listing.metadata)
                write_json(partial / "index.json", [asdict(row) for row in listing.index])
    return target


def _fetch_copied(folder: StorePath) -> Path:
    """A dataset that was copied there from a disk."""
    inside = list(folder.iterdir())
    shards = [path for path in inside if ".array_record" in path.name]
    others = [path for path in inside if path not in shards]
    name = digest(*(part for path in others for part in (path.name, path)))
    target = _cache() / name / folder.name
    with _lacking(target) as lacking:
        if lacking:
            files = [_File(path, path.stat().st_size, _cache() / "files" / f"{name}-{path.name}") for path in shards]
            _fetch(folder, files)
            with replaced_folder(target) as partial:
                for file in files:
                    os.link(file.kept, partial / file.path.name)
                for path in others:
                    path.get(partial / path.name)
    return target


def _fetch(folder: StorePath, files: Sequence[_File]) -> None:
    """Has the shards on the disk."""
    lacking = [file for file in files if not (file.kept.is_file() and file.kept.stat().st_size == file.size)]
    size, free = sum(file.size for file in lacking), shutil.disk_usage(_cache()).free
    if size > free:
        raise InputError(
            f"{named(folder)}: its shards have {size / 1e9:,.1f} GB, and {named(_cache())} has room for "
            f"{free / 1e9:,.1f}; name another folder in ACTAVATAR_SCRATCH."
        )
    log.info("%s: %d shards, %.1f GB, are fetched into %s", folder, len(lacking), size / 1e9, _cache())
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in tqdm(map_unordered(pool, _get, lacking, 2 * AT_A_TIME), "fetch", len(lacking), unit="shard"):
            pass


def _get(file: _File) -> None:
    with replaced_file(file.kept) as partial:
        file.path.get(partial)


@contextlib.contextmanager
def _lacking(target: Path) -> Iterator[bool]:
    """Whether the dataset is not there yet; nobody else of this machine makes it meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked_folder(target.parent, wait=True):
        yield not (target / INFO).is_file()


def _cache() -> Path:
    folder = scratch_root() / "shards"
    folder.mkdir(exist_ok=True)
    return folder
