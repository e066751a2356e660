"""A clip folder or a shard folder as one web page, which needs no other file: counts, hours, reasons, samples."""

from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, StorePath, named, open_place
from data_pipelines.pages.clips import make_clip_page
from data_pipelines.pages.shards import is_shard_folder, make_shard_page


def inspect_folder(folder: str | Place, out: str | Path, *, samples: int = 24) -> None:
    """Writes the page `out` about a clip folder (prepared, perhaps filtered and annotated) or a shard folder.

    Raises InputError where the folder is neither, and for shards on an object store.
    """
    folder, out = open_place(folder), Path(out)
    if not isinstance(folder, StorePath) and is_shard_folder(folder):
        make_shard_page(folder, samples).write(out)
    elif (folder / "manifest.parquet").is_file():
        make_clip_page(folder, samples).write(out)
    elif isinstance(folder, StorePath):
        raise InputError(f"{named(folder)}: no clip folder (`prepare` makes one); shards are shown from a disk only.")
    else:
        raise InputError(f"{folder}: neither a clip folder (`prepare` makes one) nor a shard folder (`encode` does)")
