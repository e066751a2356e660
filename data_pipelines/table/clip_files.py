"""Where the files of prepared clips lie, and what names their contents."""

import hashlib
from pathlib import Path

from actavatar_jax.errors import Skip
from data_pipelines.table.files import digest
from data_pipelines.table.table import Clip


def clip_path(clip: Clip, clip_dir: Path) -> Path:
    """Where `prepare` puts the clip."""
    return shelved(clip_dir / "clips", clip.id, ".mp4")


def shelved(folder: Path, name: str, suffix: str) -> Path:
    """Where a file of the clip of this id lies: in one of 256 folders, which a digest of the id names, since file
    systems are slow with half a million files in one; or in `folder` itself, where older versions put it."""
    flat = folder / f"{name}{suffix}"
    return flat if flat.is_file() else folder / hashlib.sha256(name.encode()).hexdigest()[:2] / flat.name


def clip_state(clip: Clip, clip_dir: Path) -> str:
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
