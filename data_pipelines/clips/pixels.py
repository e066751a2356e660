"""Windows of raw pixels from prepared clips, without end: what a VAE is trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video


def cut_pixel_windows(
    clip_dir: Path, size: int, frames: int, per_visit: int, seed: int
) -> Iterator[UInt8[np.ndarray, "F size size 3"]]:
    """Random windows of `frames` frames, the centred square brought to `size` pixels a side.

    The clips `clip_dir/clips/*.mp4` are visited in a new random order each round; each visit cuts `per_visit` windows.
    Clips that are too short are passed over.

    Raises:
      InputError: no clips, or none long enough.
    """
    paths = sorted((clip_dir / "clips").rglob("[!.]*.mp4"))
    if not paths:
        raise InputError(f"{clip_dir}: no clips/*.mp4 here; make the clip folder with `actavatar prepare`")
    return _windows(clip_dir, paths, size, frames, per_visit, np.random.default_rng(seed))


def _windows(
    clip_dir: Path, paths: list[Path], size: int, frames: int, per_visit: int, rng: np.random.Generator
) -> Iterator[UInt8[np.ndarray, "F size size 3"]]:
    while True:
        found = False
        for i in rng.permutation(len(paths)):
            video = load_video(paths[i], size=(size, size)).frames
            if len(video) < frames:
                continue
            found = True
            for start in rng.integers(0, len(video) - frames + 1, per_visit):
                yield video[start : start + frames]
        if not found:
            raise InputError(f"{clip_dir}: no clip has {frames} frames or more")
