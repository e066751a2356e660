"""How much the hands of a clip move, from DWPose's keypoints, and whether the camera does."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.keypoints import Landmarker
from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import read_frames
from data_pipelines.filters.camera import CameraMotion
from data_pipelines.filters.gestures import measure_gestures
from data_pipelines.filters.models import find_models
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path

# Whose constants it depends on.
PARTS = ["actavatar_jax.keypoints", *(f"{__package__}.{name}" for name in ("camera", "gestures"))]


def make_motion_step(models: Path | None) -> Step:
    found = find_models(models, "motion")
    if found is None:
        return Step("motion", MeasureMotion(None), make_version(*PARTS))
    Landmarker(*found)
    return Step("motion", MeasureMotion(found), make_version(*PARTS, models=found))


@dataclass(frozen=True)
class MeasureMotion:
    """Columns: available, those of `measure_gestures`, camera (see `CameraMotion.speed`)."""

    models: tuple[Path, Path] | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.models is None:
            return {"available": False}
        camera, keypoints = CameraMotion(), []
        frames, looked_at = itertools.tee(read_frames(clip_path(clip, clip_dir)))
        for index, (points, frame) in enumerate(zip(Landmarker(*self.models)(looked_at), frames, strict=True)):
            keypoints.append(points)
            if index % CameraMotion.EVERY == 0:
                camera.add_frame(frame, points)
        height, width = frame.shape[:2]
        columns = measure_gestures(np.stack(keypoints), height, width, FPS)
        return {"available": True, **columns, "camera": camera.speed()}
