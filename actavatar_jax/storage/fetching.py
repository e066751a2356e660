"""Files from an object store, on the disk for as long as somebody reads them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import InputError, Skip
from actavatar_jax.storage.places import Place, StorePath, scratch_root
from actavatar_jax.storage.sentences import named
from actavatar_jax.storage.writing import temporary


@contextlib.contextmanager
def fetched(path: str | Place, below: str = "") -> Iterator[Path]:
    """The file on a disk, under its own name, in a folder that is gone behind the block; there it lies in the folders
    `below`. One that lies on a disk is itself.

    What is wrong with the file is told with its address. Raises FileNotFoundError, and StoreError where it cannot be
    had.
    """
    if not isinstance(path, StorePath):
        yield Path(path)
        return
    with temporary(scratch_root() / path.name) as folder:
        local = folder / below / path.name
        local.parent.mkdir(parents=True)
        path.get(local)
        with _told_as(local, path):
            yield local


@contextlib.contextmanager
def _told_as(local: Path, path: StorePath) -> Iterator[None]:
    def told(text: str) -> str:
        return text.replace(str(local), str(path)).replace(named(local), named(path))

    try:
        yield
    except InputError as error:
        error.args = (told(str(error)),)
        raise
    except Skip as error:
        error.args, error.detail = (told(str(error)),), told(error.detail)
        raise
