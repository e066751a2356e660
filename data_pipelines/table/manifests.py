"""The table of a prepared clip folder, to be read, or to be changed by one command at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import locked_folder
from data_pipelines.table.table import Table

NAME = "manifest.parquet"


def read_manifest(clip_dir: str | Path) -> Table:
    """The table of a prepared clip folder."""
    return Table.read(_existing(clip_dir))


@contextlib.contextmanager
def changed_manifest(clip_dir: str | Path) -> Iterator[Table]:
    """The table of a prepared clip folder that nobody else changes during the block; InputError if somebody does."""
    _existing(clip_dir)
    with locked_folder(clip_dir):
        yield read_manifest(clip_dir)


def _existing(clip_dir: str | Path) -> Path:
    path = Path(clip_dir) / NAME
    if not path.is_file():
        raise InputError(f"{clip_dir}: no {NAME} here; make the clip folder with `prepare`, to its end")
    return path
