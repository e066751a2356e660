"""Faces for recognition: five marks of a picture, the picture turned so that they lie where networks expect them."""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.ndimage
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.published import require_file
from actavatar_jax.evaluation.videos import Frame
from actavatar_jax.onnx_files import load_model, run_model
from actavatar_jax.storage import named
from actavatar_jax.synchrony import FindFaces

SIDE = 112  # pixels of an aligned face
BOXES_SIDE = 640  # pixels of the long side in which faces are boxed
TEMPLATE = np.array(  # x, y in the order of marks everywhere; ArcFace's own
    [
        [38.2946, 51.6963],  # the eye on the left of the picture
        [73.5318, 51.5014],  # the other eye
        [56.0252, 71.7366],  # nose
        [41.5493, 92.3655],  # the corner of the mouth on the left
        [70.7299, 92.2041],  # the other corner
    ]
)

Marks = Float[np.ndarray, "5 2"]
FindMarks = Callable[[Frame], Marks | None]  # of the one face that counts; None where there is no face
Embed = Callable[[UInt8[np.ndarray, "112 112 3"]], Float[np.ndarray, " D"]]


def align_face(frame: Frame, marks: Marks) -> UInt8[np.ndarray, "112 112 3"]:
    """The face scaled, turned and moved so that its marks lie nearest to the template's; black outside the frame."""
    turn, shift = similarity(marks, TEMPLATE)
    y, x = np.mgrid[:SIDE, :SIDE]
    source = ((x + 1j * y) - shift) / turn
    places = np.stack([source.imag, source.real])
    planes = [scipy.ndimage.map_coordinates(frame[..., i].astype(np.float32), places, order=1) for i in range(3)]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)


def similarity(source: Marks, target: Marks) -> tuple[complex, complex]:
    """(turn, shift) with the least sum of |turn * source + shift - target|^2, points being x + iy (Umeyama, 1991).

    Raises:
      InputError: the marks are all one point.
    """
    a, b = (points[:, 0] + 1j * points[:, 1] for points in (source, target))
    centred = a - a.mean()
    size = np.vdot(centred, centred).real
    if size < 1e-6:
        raise InputError("Five marks of a face lie in one point; accepted are those of eyes, nose and mouth.")
    turn = np.vdot(centred, b - b.mean()) / size
    return complex(turn), complex(b.mean() - turn * a.mean())


def open_embedder(path: str | Path | None) -> Embed:
    """An ArcFace network: an aligned face, RGB -> its embedding.

    `path` is an ONNX file that takes [1, 3, 112, 112] with (x - 127.5) / 127.5, such as `w600k_r50.onnx` of
    insightface's pack buffalo_l or `glintr100.onnx` of antelopev2.

    Raises:
      InputError: there is none, or it takes something else; or onnxruntime is not installed.
    """
    file = require_file("CSIM", path, "w600k_r50.onnx")
    session = load_model(file, ((None, 3, SIDE, SIDE),), ((None, None),), "a network of faces")

    def embed(face: UInt8[np.ndarray, "112 112 3"]) -> Float32[np.ndarray, " D"]:
        pixels = (face.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 127.5
        return run_model(session, pixels)[0][0]

    return embed


def open_yunet(path: str | Path | None, score: float = 0.7) -> FindMarks:
    """Marks of the largest face by YuNet, an ONNX file of OpenCV's zoo such as `face_detection_yunet_2023mar.onnx`.

    Raises:
      InputError: there is none, or another model; or OpenCV is not installed.
    """
    detect = _open_detector(path, score)

    def find(frame: Frame) -> Marks | None:
        found = detect(frame)
        return marks_of_largest(found) if len(found) else None

    return find


def open_boxes(path: str | Path | None, score: float = 0.7) -> FindFaces:
    """The boxes of all faces by the same detector, in a frame of at most 640 pixels on the long side, as `filter` has
    them: what lip synchrony asks for.

    Raises:
      InputError: as `open_yunet`.
    """
    detect, cv2 = _open_detector(path, score), _import("cv2")

    def find(frame: Frame) -> Float[np.ndarray, "n 4"]:
        scale = min(1.0, BOXES_SIDE / max(frame.shape[:2]))
        size = max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        return detect(small)[:, :4] * (frame.shape[1] / small.shape[1])

    return find


def _open_detector(path: str | Path | None, score: float) -> Callable[[Frame], Float[np.ndarray, "n 15"]]:
    """A frame to its faces as YuNet tells them; see `marks_of_largest`."""
    file = require_file("Finding faces", path, "face.onnx")
    cv2 = _import("cv2")
    try:
        detector = cv2.FaceDetectorYN.create(str(file), "", (SIDE, SIDE), score)
    except cv2.error as error:
        raise InputError(f"{named(file)} is broken, or another model; accepted is a YuNet face detector.") from error

    def detect(frame: Frame) -> Float[np.ndarray, "n 15"]:
        detector.setInputSize((frame.shape[1], frame.shape[0]))
        _, found = detector.detect(np.ascontiguousarray(frame[..., ::-1]))
        return np.zeros((0, 15)) if found is None else found.astype(float)

    return detect


def marks_of_largest(found: Float[np.ndarray, "n 15"]) -> Marks:
    """Of faces as YuNet tells them: left, top, width, height, x and y of five marks, score."""
    largest = max(found, key=lambda row: row[2] * row[3])
    return largest[4:14].reshape(5, 2).astype(float)


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f'Faces need {package}: pip install "actavatar-jax[eval]" ({error}).') from error
