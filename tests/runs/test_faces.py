"""Faces and mouths for tasks that have to know where they are."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import Video
from actavatar_jax.runs.faces import face_finder, find_mouths
from tests.data import tiny_models

CELL = 32  # pixels, in which the made-up detector sees red


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    tiny_models.face(folder / "face.onnx")
    return folder


def frame(*cells):
    """640 x 640 grey pixels with red cells (row, column)."""
    picture = np.full((640, 640, 3), 60, np.uint8)
    for row, column in cells:
        picture[CELL * row : CELL * (row + 1), CELL * column : CELL * (column + 1)] = (255, 0, 0)
    return picture


def test_a_face_is_found_as_a_box_within_the_picture(models):
    find = face_finder(models)
    half = tiny_models.FACE / 2
    middle = CELL * (10 + 0.5)
    np.testing.assert_allclose(find(frame((10, 10))), [middle - half, middle + half] * 2, atol=2)
    top, bottom, left, right = find(frame((0, 19)))  # in the corner: the box ends with the picture
    assert (top, right) == (0, 640) and bottom == pytest.approx(16 + half, abs=2)
    assert left == pytest.approx(640 - 16 - half, abs=2)
    assert find(frame()) is None


def test_mouths_are_found_in_every_frame_and_stay_where_none_is_seen(models, tmp_path):
    frames = np.stack([frame((10, 10)), frame(), frame((10, 12))])
    Video(frames, np.zeros(3 * 640, np.float32)).save(tmp_path / "talk.mp4")
    first, second, third = find_mouths(tmp_path / "talk.mp4", models)
    assert second == first
    top, bottom, left, right = first
    assert (left + right) / 2 == pytest.approx(CELL * 10.5, abs=2)  # between the corners, 32 pixels apart
    assert right - left == pytest.approx(1.8 * CELL, abs=4) and bottom - top == pytest.approx(1.4 * CELL, abs=4)
    assert top < CELL * 11 < bottom
    np.testing.assert_allclose(np.subtract(third, first), [0, 0, 2 * CELL, 2 * CELL], atol=3)


def test_without_a_detector_or_a_face_it_is_said(models, tmp_path):
    with pytest.raises(InputError, match=r"holds no face.onnx"):
        face_finder(tmp_path)
    Video(frame()[None].repeat(2, axis=0), np.zeros(1280, np.float32)).save(tmp_path / "still.mp4")
    with pytest.raises(InputError, match=r"still.mp4: no face is seen in any of its 2 frames; give the mouth's box"):
        find_mouths(tmp_path / "still.mp4", models)
