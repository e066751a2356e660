"""A clip folder or a shard folder as one web page, which needs no other file: counts, hours, reasons, samples."""

import tempfile
from pathlib import Path

from actavatar_jax.errors import InputError
from actavatar_jax.storage import Place, named, open_place, scratch_root
from data_pipelines.pages.clips import make_clip_page
from data_pipelines.pages.shards import make_shard_page
from data_pipelines.shards import summarise_datasets


def inspect_folder(folder: str | Place, out: str | Path, *, samples: int = 24) -> None:
    """Writes the page `out` about a clip folder (prepared, perhaps filtered and annotated) or a shard folder.

    Of encoded clips on an object store counts are of all, and samples of each dataset's first shard, which alone is
    fetched. Raises InputError where the folder is neither.
    """
    folder, out = open_place(folder), Path(out)
    with tempfile.TemporaryDirectory(dir=scratch_root()) as scratch:
        if summaries := summarise_datasets(folder, Path(scratch)):
            make_shard_page(folder, summaries, samples).write(out)
        elif (folder / "manifest.parquet").is_file():
            make_clip_page(folder, samples).write(out)
        else:
            raise InputError(
                f"{named(folder)}: neither a clip folder (`prepare` makes one) nor a shard folder (`encode` does)"
            )
