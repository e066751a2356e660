"""DOVER's two views of a clip and its scores (Wu et al., 2023; settings of its `dover.yml`).

Its own program draws frames and patches at random within their cells; here the middle ones are taken, so that a clip
has one score.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.media.video import probe, read_frames
from actavatar_jax.onnx_files import load_model, run_model
from data_pipelines.table import import_extra

LENGTH, INTERVAL = 32, 2  # frames of a view, every second one
SIDE, GRID, PATCH = 224, 7, 32  # pixels of a view; patches in each direction and their side
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
INPUTS = ((1, 3, LENGTH, SIDE, SIDE), (None, 3, LENGTH, SIDE, SIDE))
OUTPUTS = ((None,), (None,))  # aesthetic, technical
TECHNICAL_VIEWS = 3  # where the model does not say how many


def load_dover(path: Path):
    """The session of a DOVER model."""
    return load_model(path, INPUTS, OUTPUTS)


def score_with_dover(clip: Path, path: Path) -> dict[str, float]:
    """technical, aesthetic and score (fused as DOVER's program does it), each 0..1."""
    session = load_dover(path)
    count = session.get_inputs()[1].shape[0]
    aesthetic, technical = run_model(session, *cut_views(clip, count if isinstance(count, int) else TECHNICAL_VIEWS))
    technical = (float(technical.mean()) - 0.1107) / 0.07355
    aesthetic = (float(aesthetic.mean()) + 0.08285) / 0.03774
    fused = 0.6104 * technical + 0.3896 * aesthetic
    values = {"technical": technical, "aesthetic": aesthetic, "score": fused}
    return {name: float(1 / (1 + np.exp(-value))) for name, value in values.items()}


def cut_views(
    clip: Path, count: int
) -> tuple[Float32[np.ndarray, "1 3 32 224 224"], Float32[np.ndarray, "count 3 32 224 224"]]:
    """All of 32 frames over the clip, shrunk; and `count` runs of 32 frames in 49 patches of full resolution."""
    frames = probe(clip).frames
    seen = ((np.arange(LENGTH) + 0.5) * frames / LENGTH).astype(int)
    starts = np.arange(count) * (frames // count)
    looked_at = (starts[:, None] + INTERVAL * np.arange(LENGTH)).ravel() % frames
    shrunk = np.zeros((LENGTH, SIDE, SIDE, 3), np.uint8)
    patched = np.zeros((count * LENGTH, SIDE, SIDE, 3), np.uint8)
    places = defaultdict(list)
    for array, indices in ((shrunk, seen), (patched, looked_at)):
        for place, index in enumerate(indices):
            places[int(index)].append((array, place))
    cv2 = import_extra("cv2")
    for index, frame in enumerate(read_frames(clip)):
        for array, place in places[index]:
            array[place] = cv2.resize(frame, (SIDE, SIDE)) if array is shrunk else _patches(frame)
    return _normalised(shrunk[None]), _normalised(patched.reshape(count, LENGTH, SIDE, SIDE, 3))


def _patches(frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "224 224 3"]:
    """7 x 7 patches of 32 x 32 pixels, each from the middle of its cell; a smaller picture is enlarged."""
    scale = SIDE / min(frame.shape[:2])
    if scale > 1:
        frame = import_extra("cv2").resize(frame, None, fx=scale, fy=scale)
    rows, columns = (
        ((np.arange(GRID) + 0.5) * side / GRID - PATCH / 2).astype(int)[:, None] + np.arange(PATCH)
        for side in frame.shape[:2]
    )
    return frame[rows.ravel()][:, columns.ravel()]


def _normalised(views: UInt8[np.ndarray, "n t h w 3"]) -> Float32[np.ndarray, "n 3 t h w"]:
    return np.ascontiguousarray(((views - MEAN) / STD).transpose(0, 4, 1, 2, 3))
