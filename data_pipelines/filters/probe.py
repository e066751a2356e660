"""What the container says of a clip, and how loud it is."""

from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax import media
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path

FULL_SCALE = 0.999
SILENCE = 1e-6  # -120 dB, the least that is told


def make_probe_step(models: Path | None) -> Step:
    return Step("probe", measure_file, make_version(__name__))


def measure_file(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    """Columns: has_audio, seconds, frames, fps, height, width, short_side (pixels), codec, bits_per_pixel (of the whole
    file), loudness (RMS, decibels below full scale), clipped (fraction of samples at full scale)."""
    path = clip_path(clip, clip_dir)
    info = media.probe(path)
    columns = {
        "has_audio": info.has_audio,
        "seconds": info.duration,
        "frames": info.frames,
        "fps": info.fps,
        "height": info.height,
        "width": info.width,
        "short_side": min(info.height, info.width),
        "codec": info.codec,
        "bits_per_pixel": 8 * path.stat().st_size / (info.frames * info.height * info.width),
    }
    if info.has_audio:
        samples = media.load_audio(path)
        columns["loudness"] = 20 * float(np.log10(max(np.sqrt(np.mean(samples**2)), SILENCE)))
        columns["clipped"] = float(np.mean(np.abs(samples) >= FULL_SCALE))
    return columns
