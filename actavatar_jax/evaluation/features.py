"""Feature vectors of videos: frames to Inception's, clips to I3D's, read once and kept in a folder if one is given.

F frames, h w pixels; every video gives a group of vectors (`frechet.py`).
"""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float32, Int
from PIL import Image

from actavatar_jax.checks import checked, one_of, whole
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.frechet import Group
from actavatar_jax.evaluation.published import PUBLISHED, read_published
from actavatar_jax.evaluation.videos import Frame, Source, Videos, each_video
from actavatar_jax.functional import Network, Params
from actavatar_jax.models.i3d import LEAST_FRAMES
from actavatar_jax.storage import replaced_file

RESIZES = ("clean", "legacy_pytorch")
INCEPTION_SIDE, I3D_SIDE = 299, 224
IMAGES = 32  # in a batch
CLIP_FRAMES = 64  # of the clips in a batch, all together


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """A network, what it is given of a video, and what its features depend on besides the video."""

    backbone: str
    resize: str
    network: Network
    params: Params
    inputs: Callable[[Source], Iterator[Float32[np.ndarray, "..."]]]
    batch: int
    key: tuple[str, ...]

    def groups(self, videos: Videos, cache: str | Path | None = None) -> Iterator[Group]:
        """Of one video after the other.

        cache: a folder for the features of files, which are read from there as long as the video's file and that of the
        weights have the same sizes and times.
        """
        for source in each_video(videos):
            if cache is None or source.path is None or not source.path.is_file():
                yield self._group(source)
                continue
            kept = Path(cache) / f"{_digest(*self.key, _facts(source.path))}.npy"
            if not kept.is_file():
                with replaced_file(kept) as partial, partial.open("wb") as file:
                    np.save(file, self._group(source))
            yield np.load(kept)

    def _group(self, source: Source) -> Group:
        return np.concatenate(list(run_batches(self.network, self.params, self.inputs(source), self.batch)))


def image_extractor(measure: str, weights: str | Path | None, resize: str) -> Extractor:
    """2048 features of every frame by Inception v3.

    Raises InputError for a `resize` there is none of, and as `read_published`.
    """
    checked("way of resizing", resize, str, one_of(*RESIZES))
    prepare = {"clean": clean_resize, "legacy_pytorch": plain_resize}[resize]
    side = INCEPTION_SIDE

    def pictures(source: Source) -> Iterator[Float32[np.ndarray, "{side} {side} 3"]]:
        return (prepare(frame, side) for frame in source.frames())

    return _extractor("inception", measure, weights, f"{resize}, {side}x{side}", pictures, IMAGES)


def clip_extractor(measure: str, weights: str | Path | None, frames: int) -> Extractor:
    """400 logits of every whole window of `frames` frames, side by side from the first frame on, by I3D.

    Raises InputError for windows of fewer than 10 frames, for videos shorter than one, and as `read_published`.
    """
    frames = checked("number of frames of a window", frames, int, whole(LEAST_FRAMES, 10_000))

    def windows(source: Source) -> Iterator[Float32[np.ndarray, "F h w 3"]]:
        given, found = source.frames(), 0
        while len(window := list(itertools.islice(given, frames))) == frames:
            found += 1
            yield np.stack([plain_resize(frame, I3D_SIDE) for frame in window])
        if not found:
            raise InputError(f"{source.name} has {len(window)} frames; {measure} takes at least {frames}.")

    told = f"bilinear, {I3D_SIDE}x{I3D_SIDE}, windows of {frames} frames"
    return _extractor("i3d", measure, weights, told, windows, max(1, CLIP_FRAMES // frames))


def _extractor(
    name: str, measure: str, weights: str | Path | None, resize: str, inputs: Callable, batch: int
) -> Extractor:
    published = PUBLISHED[name]
    params = read_published(name, measure, [weights])
    key = published.title, resize, str(published.network.config), _facts(Path(weights))
    return Extractor(published.title, resize, published.network, params, inputs, batch, key)


def run_batches(network: Network, params: Params, inputs: Iterable[Any], batch: int) -> Iterator[np.ndarray]:
    """What a network gives for arrays, or tuples of arrays, in batches of one size; the last one is filled up."""
    inputs = iter(inputs)
    while chunk := list(itertools.islice(inputs, batch)):
        rows = [row if isinstance(row, tuple) else (row,) for row in chunk]
        rows += rows[-1:] * (batch - len(chunk))
        stacked = [np.stack(column) for column in zip(*rows, strict=True)]
        yield np.asarray(_forward(network, params, *stacked))[: len(chunk)]


@functools.partial(jax.jit, static_argnums=0)
def _forward(network: Network, params: Params, *inputs: jax.Array) -> jax.Array:
    return network.bind(params)(*inputs)


# ---- pictures of the network's size


def clean_resize(frame: Frame, side: int) -> Float32[np.ndarray, "{side} {side} 3"]:
    """As clean-fid: Pillow's bicubic with antialiasing, on floats, within 0..255 but not rounded; (x - 128) / 128."""
    planes = [Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC) for plane in _planes(frame)]
    return (np.stack(planes, axis=-1).clip(0, 255) - 128) / 128


def plain_resize(frame: Frame, side: int) -> Float32[np.ndarray, "{side} {side} 3"]:
    """As pytorch-fid and cd-fvd: between the four nearest pixels however much smaller it gets; x / 127.5 - 1."""
    return bilinear_resize(frame, side) / np.float32(127.5) - 1


def bilinear_resize(frame: Frame, side: int) -> Float32[np.ndarray, "{side} {side} 3"]:
    """Between the four nearest pixels, pixels being areas: `interpolate` of PyTorch as it is by default."""
    (above, below, down), (left, right, across) = (_neighbours(pixels, side) for pixels in frame.shape[:2])
    down, across = down[:, None, None], across[None, :, None]
    rows = frame[above] * (1 - down) + frame[below] * down
    return rows[:, left] * (1 - across) + rows[:, right] * across


def _neighbours(
    pixels: int, side: int
) -> tuple[Int[np.ndarray, " S"], Int[np.ndarray, " S"], Float32[np.ndarray, " S"]]:
    """Of each new pixel the old one before and the one behind its centre, and how near it is to the latter."""
    centres = np.clip((np.arange(side) + 0.5) * pixels / side - 0.5, 0, pixels - 1)
    before = centres.astype(int)
    return before, np.minimum(before + 1, pixels - 1), (centres - before).astype(np.float32)


def _planes(frame: Frame) -> Iterator[Float32[np.ndarray, "h w"]]:
    return (np.ascontiguousarray(frame[..., i], np.float32) for i in range(3))


# ---- what is kept


def _facts(path: Path) -> str:
    """What tells a file from another and from its older self."""
    facts = path.stat()
    return f"{os.path.realpath(path)} {facts.st_size} {facts.st_mtime_ns}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:32]
