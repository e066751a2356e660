"""Videos as measures take them: files, folders, or frames; one frame after the other."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media import read_frames
from actavatar_jax.media.formats import VIDEO_SUFFIXES
from actavatar_jax.storage import named, shown

Frame = UInt8[np.ndarray, "h w 3"]
Video = str | Path | Iterable[Any]  # of frames, also as an array [F, h, w, 3]; they are checked as they come
Videos = str | Path | Iterable[Video]


@dataclass(frozen=True, eq=False)
class Source:
    """One video; frames of a file can be read again and again, others once."""

    name: str
    video: Video

    @property
    def path(self) -> Path | None:
        """Of a file."""
        return Path(self.video) if isinstance(self.video, str | Path) else None

    def frames(self) -> Iterator[Frame]:
        """25 a second of a file, by its time stamps; others as they come. InputError for what is no frame, and none."""
        given = self.video if self.path is None else read_frames(self.path)
        empty = True
        for frame in given:
            empty = False
            shape = getattr(frame, "shape", None)
            if getattr(frame, "dtype", None) != np.uint8 or len(shape) != 3 or shape[2] != 3:
                raise InputError(
                    f"{self.name} holds {_told(frame)} in the place of a frame; accepted are arrays uint8 [h, w, 3]."
                )
            yield frame
        if empty:
            raise InputError(f"{self.name} holds no frame.")


def each_video(videos: Videos) -> Iterator[Source]:
    """The videos of a folder by their names, one file, or those of an iterable.

    Raises:
      InputError: a folder or an iterable without videos, or a path to nothing.
    """
    if isinstance(videos, str | Path):
        files = _files(Path(videos))
        yield from (Source(f"Video {named(file)}", file) for file in files)
        return
    number = -1
    for number, video in enumerate(videos):
        told = f"Video {named(video)}" if isinstance(video, str | Path) else f"Video {number} of those given"
        yield Source(told, video)
    if number < 0:
        raise InputError("Got no videos; accepted is at least one.")


def each_pair(real: Videos, generated: Videos) -> Iterator[tuple[Source, Source]]:
    """Videos that belong together, in order; of two folders those of one name.

    Raises:
      InputError: as `each_video`, another number of videos on one side, or another name.
    """
    folders = all(isinstance(side, str | Path) and Path(side).is_dir() for side in (real, generated))
    for number, pair in enumerate(itertools.zip_longest(each_video(real), each_video(generated))):
        if None in pair:
            more = "real" if pair[1] is None else "generated"
            raise InputError(f"There are more {more} videos than {number} of the others; accepted are pairs.")
        if folders and pair[0].path.stem != pair[1].path.stem:
            raise InputError(f"{pair[0].name} and {pair[1].name} are no pair; accepted are two folders of equal names.")
        yield pair


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # the reader says what is wrong with it
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        raise InputError(f"The folder {named(path)} holds no video; accepted are files such as talk.mp4.")
    return files


def _told(frame: object) -> str:
    if isinstance(frame, np.ndarray):
        return f"an array {frame.dtype} {list(frame.shape)}"
    return shown(frame)
