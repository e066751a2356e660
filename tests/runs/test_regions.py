"""Where hands and faces are, in places of latents."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.runs.regions import mark_regions, pick_frames, region_finder
from tests.data import tiny_models


def points(part, left, top, right, bottom, seen=1.0):
    """133 unseen points but for those of a part, at the corners of a box in turn."""
    keypoints = np.zeros((133, 3), np.float32)
    corners = np.float32([(left, top), (right, bottom)])
    count = len(keypoints[part])
    keypoints[part, :2], keypoints[part, 2] = corners[np.arange(count) % 2], seen
    return keypoints


def test_boxes_with_their_margin_in_the_latent_frame_that_stands_for_a_frame():
    """A hand of 40x20 pixels with a margin of 6, in a picture of 96x128 pixels and 6x8 places of 16."""
    nobody, hand = np.zeros((133, 3), np.float32), points(slice(112, 133), 40, 30, 80, 50)
    regions = mark_regions(np.stack([nobody] * 4 + [hand] + [nobody] * 4), (96, 128), (6, 8))
    assert regions.shape == (3, 6, 8) and not regions[[0, 2]].any()
    rows, columns = np.nonzero(regions[1])  # y 24 to 56, x 34 to 86
    assert (set(rows), set(columns)) == ({1, 2, 3}, {2, 3, 4, 5})


@pytest.mark.parametrize("keypoints", [points(slice(91, 112), 0, 0, 9, 9, seen=0.2), points(slice(91, 96), 0, 0, 9, 9)])
def test_what_is_hardly_seen_is_no_hand(keypoints):
    assert not mark_regions(keypoints[None], (32, 32), (2, 2)).any()


def test_frames_of_a_slower_video_are_picked_from_the_clock():
    """A video of 17 frames at 16 fps is read as 27 at 25: each of its own frames is there once or twice."""
    read = np.arange(17).repeat(np.diff(np.round(np.arange(18) * 25 / 16)).astype(int))[:, None, None, None]
    films = np.broadcast_to(read, (len(read), 2, 2, 3)).astype(np.uint8)
    assert len(films) == 27
    picked = pick_frames(films, 17)
    assert np.abs(picked[:, 0, 0, 0] - np.arange(17.0)).max() <= 1 and len(picked) == 17
    np.testing.assert_array_equal(pick_frames(films, 27), films)


def test_what_lies_outside_of_the_picture_is_cut():
    regions = mark_regions(points(slice(23, 91), -90, 20, 10, 400)[None], (64, 64), (4, 4))
    np.testing.assert_array_equal(regions[0], [[1, 1, 1, 1]] * 4)  # its margin is 57 pixels
    assert not mark_regions(points(slice(23, 91), -90, -90, -50, -50)[None], (64, 64), (4, 4)).any()


def test_the_networks_are_those_of_the_motion_filter(tmp_path):
    with pytest.raises(InputError, match=r"does not hold person\.onnx and pose\.onnx"):
        region_finder(tmp_path)
    tiny_models.person(tmp_path / "person.onnx")
    tiny_models.pose(tmp_path / "pose.onnx")
    blue = np.zeros((5, 96, 128, 3), np.uint8)
    blue[..., 2] = 255
    find = region_finder(tmp_path)
    seen = find(blue, (6, 8))  # the tiny network sees every point in the middle of its person
    assert seen.shape == (2, 6, 8) and 1 <= seen[0].sum() <= 4
    assert not find(blue[..., ::-1].copy(), (6, 8)).any()
