"""The videos of a results folder beside the items of a bench: which can be measured, and why the others cannot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from actavatar_jax.errors import InputError, Skip, first_line
from actavatar_jax.evaluation.bench.items import BenchItem
from actavatar_jax.evaluation.bench.kept import Found, Kept, digest_file
from actavatar_jax.media import FPS, probe, read_frames
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import named
from actavatar_jax.synchrony import NotScored

SUFFIX = ".mp4"
SHOWN_AT = (0.1, 0.5, 0.9)  # of a clip's length
HEIGHT = 88  # pixels of a thumbnail
OVERHANG = 0.16  # seconds by which a clip may be shorter or longer: frames come in groups of four
RATE = 0.01  # part by which its rate may differ


@dataclass(frozen=True)
class BenchClip:
    """A video of the right length and rate, all of which can be read."""

    item: BenchItem
    path: Path
    digest: str  # of its contents
    frames: int  # at 25 a second
    thumbnails: tuple[str, ...]  # data URIs


@dataclass(frozen=True)
class Results:
    """clips: in the bench's order. reasons: of the items without one. extra: names of videos that no item asks for."""

    clips: tuple[BenchClip, ...]
    reasons: dict[str, NotScored]
    extra: tuple[str, ...]


def find_clips(folder: str | Path, items: Sequence[BenchItem], kept: Kept, step: Callable[[], object]) -> Results:
    """Looks for `<id>.mp4` of every item, and reads it through once; `step` is called after each.

    Raises:
      InputError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{named(folder)} is no folder; accepted is one of videos <id>{SUFFIX}.")
    clips, reasons = [], {}
    for item in items:
        try:
            clips.append(_clip(item, folder / f"{item.id}{SUFFIX}", kept))
        except Skip as skip:
            reasons[item.id] = NotScored(skip.reason, skip.detail)
        step()
    asked = {f"{item.id}{SUFFIX}" for item in items}
    extra = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    return Results(tuple(clips), reasons, tuple(name for name in extra if name not in asked))


def _clip(item: BenchItem, path: Path, kept: Kept) -> BenchClip:
    if not path.exists():
        raise Skip("missing", f"there is no {named(path.name)}")
    try:
        digest = digest_file(path)
    except OSError as error:
        raise Skip("unreadable", first_line(error)) from error
    seen = kept.find(lambda: _look(path), "look", 1, digest)
    if abs(seen["fps"] / item.fps - 1) > RATE:
        raise Skip("other rate", f"it has {seen['fps']:.4g} frames a second, {item.fps:g} are asked for")
    excess = seen["seconds"] - item.duration
    if abs(excess) > OVERHANG:
        told = f"it lasts {seen['seconds']:.2f} s, {item.duration:g} s are asked for"
        raise Skip("too long" if excess > 0 else "too short", told)
    return BenchClip(item, path, digest, seen["frames"], tuple(seen["thumbnails"]))


def _look(path: Path) -> Found:
    """What of a video does not depend on what is asked for."""
    from actavatar_jax.charts import encode_thumbnail  # of an extra

    try:
        info = probe(path)
        wanted = {int(part * info.duration * FPS) for part in SHOWN_AT}
        thumbnails, count = [], 0
        for count, frame in enumerate(read_frames(path), start=1):
            if count - 1 in wanted:
                thumbnails.append(encode_thumbnail(frame, HEIGHT))
    except InputError as error:
        raise Skip("torn", str(error)) from error
    return {"fps": info.fps, "seconds": count / FPS, "frames": count, "thumbnails": thumbnails}
