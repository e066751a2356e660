"""How much of the picture is text: subtitles, logos, captions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.onnx_files import load_model, run_batches
from data_pipelines.filters.models import find_models
from data_pipelines.filters.pictures import read_frames_at, shrink_frame
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path, import_extra

FRAMES = (0.1, 0.5, 0.9)  # of the clip's length
SIDE, MULTIPLE = 960, 32  # pixels of the long side, and what the model's grid needs
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
INPUTS, OUTPUTS = ((None, 3, None, None),), ((None, 1, None, None),)
TEXT, SURE = 0.3, 0.6  # probability of a pixel, and mean probability within a box
UNCLIP = 1.6  # the map shows the core of each text; this times area over perimeter brings its borders back


def make_text_area_step(models: Path | None) -> Step:
    found = find_models(models, "text_area")
    if found is None:
        return Step("text_area", MeasureTextArea(None), make_version(__name__))
    load_model(found[0], INPUTS, OUTPUTS)
    import_extra("cv2")
    return Step("text_area", MeasureTextArea(found[0]), make_version(__name__, models=found))


@dataclass(frozen=True)
class MeasureTextArea:
    """Columns: available, area (the largest of three frames, as a fraction of the picture)."""

    model: Path | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.model is None:
            return {"available": False}
        session = load_model(self.model, INPUTS, OUTPUTS)
        pictures = map(_input, read_frames_at(clip_path(clip, clip_dir), FRAMES))
        areas = [measure_coverage(probability) for ((probability,),) in run_batches(session, pictures)]
        return {"available": True, "area": max(areas)}


def measure_coverage(probability: Float32[np.ndarray, "h w"]) -> float:
    """Fraction of a map of text that lies in boxes around text."""
    cv2 = import_extra("cv2")
    contours, _ = cv2.findContours((probability > TEXT).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    text = np.zeros(probability.shape, np.uint8)
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        inside = cv2.fillPoly(np.zeros_like(text), [contour], 1).astype(bool)
        if min(width, height) == 0 or probability[inside].mean() < SURE:
            continue
        border = UNCLIP * width * height / (width + height)  # on both sides together
        box = cv2.boxPoints((centre, (width + border, height + border), angle))
        cv2.fillPoly(text, [box.round().astype(np.int32)], 1)
    return float(text.mean())


def _input(frame: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "3 h w"]:
    """Normalised as in training: the channels are blue, green, red, the constants those of red, green, blue."""
    small = shrink_frame(frame, SIDE)
    height, width = (max(1, round(side / MULTIPLE)) * MULTIPLE for side in small.shape[:2])
    small = import_extra("cv2").resize(small, (width, height))[..., ::-1]
    return np.ascontiguousarray(((small / np.float32(255) - MEAN) / STD).transpose(2, 0, 1))
