"""How good the pictures look: sharpness, light and black borders, and DOVER's scores where its model is there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from data_pipelines.filters.dover import load_dover, score_with_dover
from data_pipelines.filters.models import find_models
from data_pipelines.filters.pictures import read_every_nth, shrink_frame
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path, import_extra

QUALITY_EVERY = 12  # frames
SIDE = 640  # pixels of the long side at which sharpness is measured, so that sizes can be compared
BLACK = 24  # luminance below which a border is black; video black is 16 in some files


def make_quality_step(models: Path | None) -> Step:
    import_extra("cv2")
    found = find_models(models, "quality")
    if found is None:
        return Step("quality", MeasureQuality(None), make_version(__name__, f"{__package__}.dover"))
    load_dover(found[0])
    return Step("quality", MeasureQuality(found[0]), make_version(__name__, f"{__package__}.dover", models=found))


@dataclass(frozen=True)
class MeasureQuality:
    """Columns: sharpness (median variance of the Laplacian), luminance_min, luminance_mean, luminance_max (of the
    samples' means, 0..255), black_border (part of the picture), available (DOVER), and with it technical, aesthetic and
    score (both fused), 0..1."""

    model: Path | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        cv2 = import_extra("cv2")
        path = clip_path(clip, clip_dir)
        sharpness, light, brightest = [], [], None
        for frame in read_every_nth(path, QUALITY_EVERY):
            grey = shrink_to_grey(frame)
            sharpness.append(float(cv2.Laplacian(grey, cv2.CV_32F).var()))
            light.append(float(grey.mean()))
            brightest = grey if brightest is None else np.maximum(brightest, grey)
        return {
            "sharpness": float(np.median(sharpness)),
            "luminance_min": min(light),
            "luminance_mean": float(np.mean(light)),
            "luminance_max": max(light),
            "black_border": measure_black_border(brightest),
            "available": self.model is not None,
        } | (score_with_dover(path, self.model) if self.model else {})


def shrink_to_grey(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w"]:
    cv2 = import_extra("cv2")
    return cv2.cvtColor(shrink_frame(frame, SIDE), cv2.COLOR_RGB2GRAY)


def measure_black_border(brightest: UInt8[np.ndarray, "h w"]) -> float:
    """Part of the picture outside of its lit rows and columns."""
    rows, columns = find_lit_area(brightest)
    return 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / brightest.size


def find_lit_area(brightest: UInt8[np.ndarray, "h w"]) -> tuple[slice, slice]:
    """Rows and columns between which anything was ever brighter than black; none of a black picture."""
    ever = brightest > BLACK
    return _extent(ever.any(1)), _extent(ever.any(0))


def _extent(lit: Bool[np.ndarray, " n"]) -> slice:
    where = np.flatnonzero(lit)
    return slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0)
