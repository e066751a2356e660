"""Where the files of prepared clips lie, and what names their contents."""

from pathlib import Path

from actavatar_jax.errors import Skip
from data_pipelines.table.files import digest
from data_pipelines.table.table import Clip


def clip_path(clip: Clip, clip_dir: Path) -> Path:
    """Where `prepare` puts the clip."""
    return clip_dir / "clips" / f"{clip.id}.mp4"


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
