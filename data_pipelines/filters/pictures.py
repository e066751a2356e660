"""Frames of a prepared clip, as many as a filter needs and one at a time."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.media.video import probe, read_frames
from data_pipelines.table import import_extra


def read_every_nth(path: Path, step: int) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Frames 0, step, 2 step, ... in RGB."""
    return itertools.islice(read_frames(path), 0, None, step)


def read_frames_at(path: Path, fractions: Sequence[float]) -> list[UInt8[np.ndarray, "H W 3"]]:
    """The frames at these fractions (ascending, below 1) of the clip's length, in RGB; nothing behind is decoded."""
    count = probe(path).frames
    wanted = [int(fraction * count) for fraction in fractions]
    return [frame for index, frame in enumerate(itertools.islice(read_frames(path), wanted[-1] + 1)) if index in wanted]


def shrink_frame(frame: UInt8[np.ndarray, "H W 3"], side: int, *, quick: bool = False) -> UInt8[np.ndarray, "h w 3"]:
    """The frame with a long side of at most `side` pixels, each the mean of its area, or `quick` of its middle."""
    scale = side / max(frame.shape[:2])
    if scale >= 1:
        return frame
    cv2 = import_extra("cv2")
    size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
    return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR if quick else cv2.INTER_AREA)
