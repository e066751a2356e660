"""How much the hands of a clip move, from DWPose's keypoints, and whether the camera does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import read_frames
from data_pipelines.filters import gestures, pose
from data_pipelines.filters.camera import Camera
from data_pipelines.filters.models import find_models
from data_pipelines.table import Clip
from data_pipelines.table.files import digest
from data_pipelines.table.steps import Step, clip_path


def step(models: Path | None) -> Step:
    found = find_models(models, "person.onnx", "pose.onnx")
    if found is None:
        return Step("motion", Motion(None))
    pose.Landmarker(*found)
    return Step("motion", Motion(found), digest("1", *found))


@dataclass(frozen=True)
class Motion:
    """Columns: available, those of `gestures.measure`, camera (see `camera.Camera.speed`)."""

    models: tuple[Path, Path] | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.models is None:
            return {"available": False}
        landmarker, camera, keypoints = pose.Landmarker(*self.models), Camera(), []
        for index, frame in enumerate(read_frames(clip_path(clip, clip_dir))):
            keypoints.append(landmarker(frame))
            if index % Camera.EVERY == 0:
                camera.see(frame, keypoints[-1])
        height, width = frame.shape[:2]
        columns = gestures.measure(np.stack(keypoints), height, width, FPS)
        return {"available": True, **columns, "camera": camera.speed()}
