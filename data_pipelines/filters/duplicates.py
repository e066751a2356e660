"""Prints of the middle picture and of the sound: clips with nearly the same of both are one clip published twice."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy.signal import stft

from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.clock import SAMPLE_RATE
from data_pipelines.filters.pictures import read_frames_at
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path, import_extra

BANDS, SEGMENTS = 17, 16
LOWEST, HIGHEST = 300, 3000  # Hz: what every codec and microphone keeps


def make_duplicates_step(models: Path | None) -> Step:
    import_extra("imagehash")
    return Step("duplicates", measure_prints, make_version(__name__))


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
