"""The table of a prepared clip folder, to be read, or to be added to by steps, none of which runs twice at a time.

<clip_dir>/manifest.parquet          the clips, with what their corpus says of them
<clip_dir>/columns/<step>.parquet    what each step found out about them
"""

import contextlib
from collections.abc import Iterator

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, locked_folder, open_place
from data_pipelines.table.columns import join_columns
from data_pipelines.table.table import Table

NAME = "manifest.parquet"


def read_manifest(clip_dir: str | Place) -> Table:
    """The table of a prepared clip folder, with the columns of all steps."""
    return join_columns(Table.read(_existing(clip_dir)), open_place(clip_dir))


@contextlib.contextmanager
def shared_manifest(clip_dir: str | Place) -> Iterator[Table]:
    """The table of a prepared clip folder whose clips nobody makes anew during the block; InputError if somebody does.

    Steps share it: each writes a file of its own, see `Part` and `changed_step`.
    """
    _existing(clip_dir)
    with locked_folder(clip_dir, shared=True):
        yield read_manifest(clip_dir)


@contextlib.contextmanager
def changed_step(clip_dir: str | Place, step: str) -> Iterator[Table]:
    """As `shared_manifest`, and nobody else changes the columns of this step; InputError if somebody does."""
    with shared_manifest(clip_dir):
        folder = open_place(clip_dir) / ".steps" / step
        folder.mkdir(parents=True, exist_ok=True)
        with locked_folder(folder):
            yield read_manifest(clip_dir)


def _existing(clip_dir: str | Place) -> Place:
    path = open_place(clip_dir) / NAME
    if not path.is_file():
        raise InputError(f"{clip_dir}: no {NAME} here; make the clip folder with `prepare`, to its end")
    return path
