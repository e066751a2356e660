"""Boxes become tracks, and tracks crops that are right to the pixel."""

import numpy as np
import pytest

from actavatar_jax.synchrony.crops import cut_face, cut_faces
from actavatar_jax.synchrony.tracks import find_sparse_tracks, find_tracks

pytest.importorskip("cv2")
NOBODY = np.zeros((0, 4))


def box(left, top=10, width=50, height=60):
    return np.array([[left, top, width, height]], float)


# ---- tracks


def test_gaps_are_filled_evenly_and_do_not_count_as_detections():
    frames = [NOBODY, box(10), box(12), NOBODY, NOBODY, box(18, 13), NOBODY]
    (track,) = find_tracks(frames)
    assert (track.first, track.detections) == (1, 3)
    np.testing.assert_allclose(track.boxes[:, 0], [10, 12, 14, 16, 18])
    np.testing.assert_allclose(track.boxes[:, 1], [10, 10, 11, 12, 13])
    np.testing.assert_allclose(track.boxes[:, 2:], [[50, 60]] * 5)
    assert track.size == 60


def test_between_frames_that_are_looked_at_boxes_move_evenly():
    (track,) = find_sparse_tracks([NOBODY, box(10), box(20), NOBODY, box(30, 13)], every=5)
    assert (track.first, track.detections) == (5, 11)
    np.testing.assert_allclose(track.boxes[:, 0], [*np.arange(10, 20, 2), *np.arange(20, 31)])
    np.testing.assert_allclose(track.boxes[[5, 15], 1], [10, 13])
    for missed, faces in ((4, 1), (5, 2)):  # samples whose frames are 25 and 30 apart
        assert len(find_sparse_tracks([box(10), *[NOBODY] * missed, box(10)], every=5)) == faces
    assert find_sparse_tracks([NOBODY] * 3, every=5) == []


def test_a_face_that_is_missed_for_longer_is_another_one():
    for missed, faces in ((24, 1), (25, 2)):  # frames whose numbers are 25 and 26 apart
        frames = [box(10), *[NOBODY] * missed, box(10), box(10)]
        assert len(find_tracks(frames)) == faces


def test_half_of_the_union_is_the_border_between_one_face_and_two():
    wide = 60  # of boxes that are one on the other but for their right half or less
    assert len(find_tracks([box(0, width=wide), box(0, width=wide / 2)])) == 2
    assert len(find_tracks([box(0, width=wide), box(0, width=wide / 2 + 1)])) == 1


def test_no_track_goes_on_over_a_cut():
    frames = [box(10)] * 9
    assert [(t.first, t.detections) for t in find_tracks(frames, cuts=[4])] == [(4, 5), (0, 4)]


def test_the_most_seen_face_comes_first():
    frames = [np.concatenate([box(200), box(10)]) if i < 3 else box(10) for i in range(8)]
    assert [(t.boxes[0, 0], t.detections) for t in find_tracks(frames)] == [(10, 8), (200, 3)]
    assert find_tracks([NOBODY] * 3) == []


# ---- crops


def coordinates(height=300, width=400):
    """A picture whose colours tell where a pixel was: red its column, green its row, both halved; blue is 7."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns // 2, rows // 2, np.full_like(rows, 7)], -1).astype(np.uint8)


def test_the_square_of_a_known_box_is_right_to_the_pixel():
    """Half of 160 is 80: from 80 above to 144 below the middle, 112 to both sides: 224 pixels, none resized."""
    crop = cut_face(coordinates(), x=180, y=120, half=80)
    np.testing.assert_array_equal(crop, coordinates()[120 - 80 : 120 + 144, 180 - 112 : 180 + 112])


def test_fractions_are_cut_off():
    np.testing.assert_array_equal(cut_face(coordinates(), 180.9, 120.9, 80), cut_face(coordinates(), 180, 120, 80))


def test_beyond_the_picture_it_is_grey():
    crop = cut_face(coordinates(), x=50, y=280, half=80)
    assert (crop[:, : 112 - 50] == 110).all() and (crop[300 - 200 :] == 110).all()
    np.testing.assert_array_equal(crop[:100, 62:], coordinates()[200:, :162])


def test_other_sizes_become_224_pixels():
    cv2 = pytest.importorskip("cv2")
    crop = cut_face(coordinates(), x=180, y=120, half=50)
    expected = cv2.resize(coordinates()[70:210, 110:250], (224, 224), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(crop, expected)


def test_the_larger_side_of_the_box_counts():
    for width, height in ((140, 160), (160, 140)):
        boxes = np.tile([[180 - width / 2, 120 - height / 2, width, height]], (27, 1))
        np.testing.assert_array_equal(
            list(cut_faces([coordinates()] * 27, boxes))[13], cut_face(coordinates(), 180, 120, 80)
        )


@pytest.mark.parametrize(("moved", "x"), [(6, 180), (7, 210)])
def test_boxes_are_medians_of_13_frames(moved, x):
    boxes = np.tile([[100.0, 40, 160, 160]], (27, 1))
    boxes[13 - moved // 2 : 13 - moved // 2 + moved, 0] += 30
    crops = list(cut_faces([coordinates()] * 27, boxes))
    assert len(crops) == 27
    np.testing.assert_array_equal(crops[13], cut_face(coordinates(), x, 120, 80))


def test_beyond_the_ends_of_a_track_medians_are_of_zeros():
    """So the first is the smallest of seven."""
    boxes = np.tile([[140.0, 40, 160, 160]], (27, 1))
    boxes[:, 0] -= 2 * np.arange(27)
    np.testing.assert_array_equal(
        next(cut_faces([coordinates()] * 27, boxes)), cut_face(coordinates(), 220 - 2 * 6, 120, 80)
    )
