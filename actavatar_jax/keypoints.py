"""Whole-body keypoints of the person in front: DWPose's two models, run by rtmlib.

Filters of the data and metrics of videos share them.
"""

import contextlib
import io
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.onnx_files import load_model, run_batches

POINTS = 133
PERSON_SIDE, POSE_SIZE = 640, (288, 384)  # pixels; width, height
PERSON_SHAPES = ((None, 3, PERSON_SIDE, PERSON_SIDE),), ((None, 8400, 85),)
POSE_SHAPES = (
    ((None, 3, POSE_SIZE[1], POSE_SIZE[0]),),
    ((None, POINTS, 2 * POSE_SIZE[0]), (None, POINTS, 2 * POSE_SIZE[1])),
)
CONFIDENT = 0.3  # from which on a point counts as seen
SCORE, OVERLAP = 0.3, 0.45  # of a person; of two boxes around one
EVERY = 25  # frames between two detections; a box is padded by a quarter, and nobody walks far in a second


class Landmarker:
    """The frames of a clip in, keypoints out. Raises InputError for models that are not DWPose's."""

    def __init__(self, person: Path, pose: Path):
        self.person, self.pose = _tools(person, pose)
        self.box = None

    def __call__(self, frames: Iterable[UInt8[np.ndarray, "H W 3"]]) -> Iterator[Float32[np.ndarray, "133 3"]]:
        """x, y (pixels, may lie outside of the picture) and confidence in COCO-WholeBody order, of each RGB frame.

        The person is the largest one; where there is none, the whole picture is taken for one.
        """
        places = deque()  # of pictures that the model has, and whose points are to come

        def pictures() -> Iterator[Float32[np.ndarray, "3 h w"]]:
            for index, frame in enumerate(frames):
                if index % EVERY == 0:
                    self.box = self._find_person(frame)
                picture, *place = self.pose.preprocess(frame, self.box)
                places.append(place)
                yield picture.transpose(2, 0, 1).astype(np.float32)

        for across, down in run_batches(self.pose.session, pictures()):
            points, confidence = self.pose.postprocess([across[None], down[None]], *places.popleft())
            yield np.concatenate([points[0], confidence[0][:, None]], 1).astype(np.float32)

    def _find_person(self, frame: UInt8[np.ndarray, "H W 3"]) -> np.ndarray:
        # rtmlib leaves the order of channels to its caller: the detector was trained on BGR, the pose model on RGB.
        boxes, classes = self.person(np.ascontiguousarray(frame[..., ::-1]))
        people = [box for box, kind in zip(boxes, classes, strict=True) if kind == 0]
        return max(people, key=_area, default=np.array([0, 0, frame.shape[1], frame.shape[0]]))


@cache
def _tools(person: Path, pose: Path):
    """rtmlib's detector and pose model, with sessions of one thread in the place of its own."""
    sessions = load_model(person, *PERSON_SHAPES), load_model(pose, *POSE_SHAPES)
    try:
        import rtmlib
    except ImportError as error:
        raise InputError(f'keypoints need rtmlib: pip install "actavatar-jax[data]" ({error})') from error
    with contextlib.redirect_stdout(io.StringIO()):  # rtmlib prints what it loads
        detector = rtmlib.YOLOX(
            str(person), (PERSON_SIDE, PERSON_SIDE), det_mode="multiclass", nms_thr=OVERLAP, score_thr=SCORE
        )
        landmarker = rtmlib.RTMPose(str(pose), POSE_SIZE)
    detector.session, landmarker.session = sessions
    return detector, landmarker


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
