"""The faces of a clip: detected five times a second by YuNet and linked to tracks; `sync` looks at the same ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.published import FILES
from actavatar_jax.synchrony import link_boxes
from data_pipelines.filters.models import find_models
from data_pipelines.filters.pictures import read_every_nth, shrink_frame
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path, clip_state, digest, import_extra

FACES_EVERY = 5  # frames
DETECTOR_SIDE = 640  # pixels of the long side that the detector sees
SCORE, OVERLAP = 0.7, 0.3  # of a detection; of two detections in one picture that are one face
LINK, LOST = 0.3, 5  # overlap of a face with itself one sample later; samples after which a missing face is another
SEEN = 0.1  # part of the samples in which a track must be seen to count
PLACES = 1  # decimals of boxes in pixels


@dataclass(frozen=True)
class FaceMarks:
    """A face's size in square pixels, and its two corners of the mouth, (x, y) in pixels."""

    area: float
    mouth: tuple[tuple[float, float], tuple[float, float]]


Boxes = Float[np.ndarray, "_ 4"]  # of the faces in one sample: left, top, width, height in pixels
Track = dict[int, Float[np.ndarray, "4"]]  # sample -> box


def make_faces_step(models: Path | None) -> Step:
    found = find_models(models, "faces")
    if found is None:
        return Step("faces", MeasureFaces(None), make_version(__name__))
    _detector(found[0])
    return Step("faces", MeasureFaces(found[0]), make_version(__name__, models=found))


@dataclass(frozen=True)
class MeasureFaces:
    """Columns: available, tracks (their number), coverage and others (part of the samples with the most seen face, and
    with the next), height (median, fraction of the picture), height_px, box (median: left, top, width, height,
    fractions of the picture); samples (their number) and boxes (of all: sample, left, top, width, height in pixels)."""

    model: Path | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.model is None:
            return {"available": False}
        size, samples = find_faces(clip_path(clip, clip_dir), self.model)
        tracks = link_faces(samples)
        coverage = [len(track) / len(samples) for track in tracks] + [0.0, 0.0]
        columns = {
            "available": True,
            "tracks": sum(part >= SEEN for part in coverage),
            "coverage": coverage[0],
            "others": coverage[1],
            "samples": len(samples),
            "boxes": [value for i, boxes in enumerate(samples) for box in boxes for value in (float(i), *box.tolist())],
        }
        if tracks:
            box = np.median(list(tracks[0].values()), axis=0)
            columns |= {"height": box[3] / size[1], "height_px": box[3], "box": (box / (size * 2)).tolist()}
        return columns


def find_faces(path: Path, model: Path) -> tuple[tuple[int, int], list[Boxes]]:
    """Width and height of a clip, and the faces in its samples."""
    size, samples = (0, 0), []
    for frame in read_every_nth(path, FACES_EVERY):
        size = frame.shape[1], frame.shape[0]
        samples.append(detect_faces(frame, model).round(PLACES))
    return size, samples


def known_faces(clip: Clip, clip_dir: Path, version: str) -> list[Boxes] | None:
    """What `find_faces` would find, where a step of this version has found it in the clip as it is, else None."""
    boxes = clip.facts.get("faces.boxes")
    if boxes is None or clip.facts.get("faces.version") != digest(version, clip_state(clip, clip_dir)):
        return None
    rows = np.reshape(np.array(boxes, float), (-1, 5))
    return [rows[rows[:, 0] == sample, 1:] for sample in range(clip.facts["faces.samples"])]


def detect_faces(frame: UInt8[np.ndarray, "H W 3"], model: Path) -> Boxes:
    """Boxes of the faces in an RGB picture: left, top, width, height in pixels."""
    return _detect(frame, model)[:, :4]


def mark_faces(frame: UInt8[np.ndarray, "H W 3"], model: Path) -> list[FaceMarks]:
    """The faces in an RGB picture."""
    return [
        FaceMarks(width * height, ((x, y), (other_x, other_y)))
        for _, _, width, height, *_, x, y, other_x, other_y in _detect(frame, model).tolist()
    ]


def _detect(frame: UInt8[np.ndarray, "H W 3"], model: Path) -> Float[np.ndarray, "n 14"]:
    """Of each face left, top, width, height, and x and y of right eye, left eye, nose, right and left corner of the
    mouth."""
    small = shrink_frame(frame, DETECTOR_SIDE)
    detector = _detector(model)
    detector.setInputSize((small.shape[1], small.shape[0]))
    _, found = detector.detect(np.ascontiguousarray(small[..., ::-1]))
    rows = np.zeros((0, 14)) if found is None else found[:, :14].astype(float)
    return rows * (frame.shape[1] / small.shape[1])


def link_faces(samples: Iterable[Boxes]) -> list[Track]:
    """The faces of one sample after the other as tracks, the most seen first."""
    return sorted(link_boxes(samples, LINK, LOST), key=len, reverse=True)


@cache
def _detector(model: Path):
    cv2 = import_extra("cv2")
    try:
        detector = cv2.FaceDetectorYN.create(str(model), "", (DETECTOR_SIDE, DETECTOR_SIDE), SCORE, OVERLAP)
        detector.detect(np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8))  # what it lacks shows only now
    except cv2.error as error:
        raise InputError(f"{model}: broken or another model; accepted is a {FILES[model.name].title}") from error
    return detector
