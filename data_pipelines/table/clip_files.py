"""Where the files of prepared clips lie, and what names their contents."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from actavatar_jax.errors import Skip
from actavatar_jax.storage import Place, StorePath, fetched
from data_pipelines.table.files import digest
from data_pipelines.table.table import Clip


def clip_path(clip: Clip, clip_dir: Place) -> Place:
    """Where `prepare` puts the clip."""
    return shelved(clip_dir / "clips", clip.id, ".mp4")


def shelved(folder: Place, name: str, suffix: str) -> Place:
    """Where a file of the clip of this id lies: in one of 256 folders, which a digest of the id names, since file
    systems are slow with half a million files in one; or in `folder` itself, where older versions put it, which knew
    no stores."""
    flat = folder / f"{name}{suffix}"
    if not isinstance(flat, StorePath) and flat.is_file():
        return flat
    return folder / hashlib.sha256(name.encode()).hexdigest()[:2] / flat.name


@contextlib.contextmanager
def clip_on_disk(clip: Clip, clip_dir: Place) -> Iterator[Path]:
    """A clip folder on the disk that has the video of this clip: the folder itself, or of one on a store another."""
    if not isinstance(clip_dir, StorePath):
        yield clip_dir
        return
    path = clip_path(clip, clip_dir)
    below = path.relative_to(clip_dir).parent
    with fetched(path, str(below)) as video:
        yield video.parents[len(below.parts)]


def clip_state(clip: Clip, clip_dir: Place) -> str:
    """Names the contents of the prepared clip: what `prepare` wrote down of it, while the file has that size.

    Raises Skip where there is no file.
    """
    path = clip_path(clip, clip_dir)
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        why = clip.facts.get("prepare.error")
        raise Skip("no clip", f"not prepared: {why}" if why else f"{path} does not exist") from error
    known = clip.facts.get("prepare.digest")
    return known if known and clip.facts.get("prepare.bytes") == size else digest(path)
