"""Where a face or a mouth is, for tasks that have to know: by YuNet, the detector of the data chain.

F frames, h w pixels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video
from actavatar_jax.storage import named
from data_pipelines.filters import FaceMarks, detect_faces, find_models, mark_faces

Box = tuple[float, float, float, float]  # top, bottom, left, right in pixels
MOUTH_WIDTH, MOUTH_HEIGHT = 1.8, 1.4  # of its region, in distances of the mouth's corners: an open mouth has room


def face_finder(models: Path) -> Callable[[UInt8[np.ndarray, "h w 3"]], Box | None]:
    """A function that gives the largest face of a picture, None where there is none.

    Raises:
      InputError: the folder holds no detector.
    """
    model = _detector(models)

    def find(picture: UInt8[np.ndarray, "h w 3"]) -> Box | None:
        boxes = detect_faces(picture, model)
        if not len(boxes):
            return None
        left, top, width, height = boxes[np.argmax(boxes[:, 2] * boxes[:, 3])]
        return _within((top, top + height, left, left + width), picture.shape)

    return find


def find_mouths(video: Path, models: Path) -> list[Box]:
    """The mouth's region in every frame of a video; where no face is seen, that of the frame before.

    Raises:
      InputError: the folder holds no detector, or no frame shows a face.
    """
    find, frames = mouth_finder(models), load_video(video).frames
    boxes = find(frames)
    if boxes is None:
        raise InputError(f"{named(video)}: no face is seen in any of its {len(frames)} frames; give the mouth's box.")
    return boxes


def mouth_finder(models: Path) -> Callable[[UInt8[np.ndarray, "F h w 3"]], list[Box] | None]:
    """A function that gives the mouth's region in every frame of a clip, None where no frame shows a face.

    Where no face is seen, it is that of the frame before. Raises as `face_finder`.
    """
    model = _detector(models)

    def find(frames: UInt8[np.ndarray, "F h w 3"]) -> list[Box] | None:
        marked = [mark_faces(frame, model) for frame in frames]
        found = [
            _mouth(max(marks, key=lambda one: one.area), frame.shape) if marks else None
            for marks, frame in zip(marked, frames, strict=True)
        ]
        latest = next((box for box in found if box is not None), None)
        if latest is None:
            return None
        boxes = []
        for box in found:
            latest = latest if box is None else box
            boxes.append(latest)
        return boxes

    return find


def _mouth(face: FaceMarks, shape: tuple[int, ...]) -> Box:
    """Around the two corners, at their height and a little below."""
    (x, y), (other_x, other_y) = face.mouth
    wide = max(np.hypot(x - other_x, y - other_y), 1.0)
    middle_x, middle_y = (x + other_x) / 2, (y + other_y) / 2 + 0.1 * wide
    half_width, half_height = MOUTH_WIDTH * wide / 2, MOUTH_HEIGHT * wide / 2
    edges = (middle_y - half_height, middle_y + half_height, middle_x - half_width, middle_x + half_width)
    return _within(edges, shape)


def _within(box: Box, shape: tuple[int, ...]) -> Box:
    top, bottom, left, right = box
    height, width = shape[:2]
    top, left = min(max(top, 0), height - 1), min(max(left, 0), width - 1)
    return float(top), float(min(max(bottom, top + 1), height)), float(left), float(min(max(right, left + 1), width))


def _detector(models: Path) -> Path:
    found = find_models(models, "faces")
    if found is None:
        raise InputError(f"{named(models)} holds no face.onnx, by which faces are found.")
    return found[0]
