"""A clip folder or a shard folder as one web page, which needs no other file: counts, hours, reasons, samples."""

from pathlib import Path

from actavatar_jax.errors import InputError
from data_pipelines.pages.clips import make_clip_page
from data_pipelines.pages.shards import is_shard_folder, make_shard_page


def inspect_folder(folder: str | Path, out: str | Path, *, samples: int = 24) -> None:
    """Writes the page `out` about a clip folder (prepared, perhaps filtered and annotated) or a shard folder.

    Raises InputError where the folder is neither.
    """
    folder, out = Path(folder), Path(out)
    if is_shard_folder(folder):
        make_shard_page(folder, samples).write(out)
    elif (folder / "manifest.parquet").is_file():
        make_clip_page(folder, samples).write(out)
    else:
        raise InputError(f"{folder}: neither a clip folder (`prepare` makes one) nor a shard folder (`encode` does)")
