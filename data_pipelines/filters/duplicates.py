"""Prints of the middle picture and of the sound; clips with nearly the same of both are one clip published twice."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image
from scipy.signal import stft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.clock import SAMPLE_RATE
from data_pipelines.filters.pictures import read_frames_at
from data_pipelines.table import Clip, Step, clip_path, import_extra

IMAGE_DIFFERS, SOUND_DIFFERS = 4, 60  # most bits, of 64 and 240, in which copies differ; strangers differ in about half
BANDS, SEGMENTS = 17, 16
LOWEST, HIGHEST = 300, 3000  # Hz: what every codec and microphone keeps


def make_duplicates_step(models: Path | None) -> Step:
    import_extra("imagehash")
    return Step("duplicates", measure_prints)


def measure_prints(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    """Columns: picture (perceptual hash, 16 hexadecimal digits), sound (60 hexadecimal digits)."""
    path = clip_path(clip, clip_dir)
    (middle,) = read_frames_at(path, [0.5])
    return {
        "picture": str(import_extra("imagehash").phash(Image.fromarray(middle))),
        "sound": make_sound_print(load_audio(path)),
    }


def make_sound_print(samples: Float32[np.ndarray, " n"]) -> str:
    """240 bits: whether energy falls from one band to the next more than it did in the sixteenth of the clip before.

    After Haitsma and Kalker (2002), with segments that are as long as the clip allows, so that there is one print.
    """
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 1)
    frequencies, _, spectrum = stft(samples, SAMPLE_RATE, nperseg=1024)
    band = np.digitize(frequencies, edges) - 1
    segment = np.arange(spectrum.shape[1]) * SEGMENTS // spectrum.shape[1]
    energy = np.zeros((SEGMENTS, BANDS))
    inside = (band >= 0) & (band < BANDS)
    np.add.at(energy, (segment[:, None], band[None, inside]), np.abs(spectrum[inside].T) ** 2)
    bits = np.diff(np.diff(np.log(energy + 1e-9), axis=1), axis=0) > 0
    return np.packbits(bits).tobytes().hex()


def group_copies(picture_prints: Sequence[str | None], sound_prints: Sequence[str | None]) -> list[int]:
    """The number of each clip's group: copies, and copies of copies, share one; clips without prints are alone."""
    known = [i for i, prints in enumerate(zip(picture_prints, sound_prints, strict=True)) if None not in prints]
    if not known:
        return list(range(len(picture_prints)))
    images, sounds = (_bytes([prints[i] for i in known]) for prints in (picture_prints, sound_prints))
    pairs = np.concatenate([np.zeros((2, 0), int), *_near(images, sounds)], axis=1)
    left, right = np.array(known)[pairs]
    graph = coo_array((np.ones(len(left)), (left, right)), (len(picture_prints), len(picture_prints)))
    return connected_components(graph, directed=False)[1].tolist()


def _near(images: UInt8[np.ndarray, "n 8"], sounds: UInt8[np.ndarray, "n 30"]) -> Iterator[np.ndarray]:
    """Pairs [2, m] of rows whose prints are near.

    Of IMAGE_DIFFERS + 1 pieces of a print at least one is the same in a copy: only clips with an equal piece meet.
    """
    bits = np.unpackbits(images, axis=1)
    for columns in np.array_split(np.arange(bits.shape[1]), IMAGE_DIFFERS + 1):
        keys = bits[:, columns] @ (1 << np.arange(len(columns)))
        order = np.argsort(keys, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            for place, row in enumerate(rows[:-1]):
                others = rows[place + 1 :]
                others = others[_distance(images[row], images[others]) <= IMAGE_DIFFERS]
                others = others[_distance(sounds[row], sounds[others]) <= SOUND_DIFFERS]
                if len(others):
                    yield np.stack([np.full(len(others), row), others])


def _distance(one: UInt8[np.ndarray, " bytes"], many: UInt8[np.ndarray, "n bytes"]) -> np.ndarray:
    return np.bitwise_count(one[None] ^ many).sum(-1)


def _bytes(prints: Sequence[str]) -> UInt8[np.ndarray, "n bytes"]:
    return np.array([list(bytes.fromhex(text)) for text in prints], np.uint8)
