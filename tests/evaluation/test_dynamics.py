"""How faces and hands move: values in closed form of keypoints that are made up, and what is not seen."""

import numpy as np
import pytest

from actavatar_jax.errors import Skip
from actavatar_jax.evaluation.dynamics import (
    BROWS,
    EYES,
    FACE,
    HANDS,
    LOWER,
    NOSE,
    UPPER,
    measure_dynamics,
    quiet_frames,
)

D = 40.0  # pixels between the eyes
LOUD = np.zeros(20, bool)


def face(frames=20):
    """A face that stands still, seen for sure, with open lips (0.1 D) and hands; x to the right, y down."""
    points = np.zeros((frames, 133, 3))
    points[..., 2] = 0.9
    for side, x in enumerate((100.0, 100.0 + D)):
        points[:, EYES[side], :2] = x, 200.0
        points[:, BROWS[side], :2] = x, 200.0 - 0.5 * D
    points[:, NOSE, :2] = 120.0, 200.0 + 0.6 * D
    for place, (upper, lower) in enumerate(zip(UPPER, LOWER, strict=True)):
        points[:, upper, :2] = 115.0 + 5 * place, 240.0
        points[:, lower, :2] = 115.0 + 5 * place, 240.0 + 0.1 * D
    return points


def alternating(frames=20):
    return np.arange(frames) % 2


def values(points, quiet=LOUD):
    return vars(measure_dynamics(points, quiet[: len(points)]))


def test_a_still_face_has_no_dynamics():
    assert values(face()) == {
        "lips": pytest.approx(0, abs=1e-12), "head": 0.0, "brows": 0.0, "silent": None, "hkc": pytest.approx(0.9),
        "hkv": 0.0, "coverage": 1.0, "hands": 1.0, "silence": 0.0,
    }  # fmt: skip


def test_the_parts_of_a_face_move_by_themselves():
    """What alternates between two values has half their difference as standard deviation."""
    lips, brows = face(), face()
    lips[:, LOWER, 1] += 0.2 * D * alternating()[:, None]
    brows[:, BROWS.ravel(), 1] -= 0.3 * D * alternating()[:, None]
    found = values(lips)
    assert (found["lips"], found["head"], found["brows"]) == (pytest.approx(0.1), 0, 0)
    found = values(brows)
    assert (found["lips"], found["head"], found["brows"]) == (pytest.approx(0, abs=1e-12), 0, pytest.approx(0.15))


def test_the_head_turns_and_rolls():
    """A nose that slides, a face that rolls around the middle between its eyes; places in the picture count nothing."""
    turning, rolling, walking = face(), face(), face()
    turning[:, NOSE, 0] += 0.02 * D * np.arange(20)
    middle = np.array([100 + D / 2, 200.0])
    for frame in range(20):
        angle = 0.03 * frame
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        rolling[frame, :, :2] = (rolling[frame, :, :2] - middle) @ turn + middle
    walking[:, :, :2] += 7.0 * np.arange(20)[:, None, None]
    assert values(turning)["head"] == pytest.approx(25 * 0.02)
    assert values(rolling)["head"] == pytest.approx(25 * 0.03 / 2)
    assert values(rolling)["lips"] == pytest.approx(0, abs=1e-9) and values(rolling)["brows"] < 1e-9
    assert values(walking)["head"] == pytest.approx(0, abs=1e-9)
    both = face()
    both[:, NOSE, 0] += 0.02 * D * np.arange(20)
    both[..., :2] = np.stack([both[..., 1], -both[..., 0]], -1) * 3  # turned by a quarter, and three times as large
    assert values(both)["head"] == pytest.approx(25 * 0.02)


def test_lips_in_silence_count_where_both_frames_are_silent():
    points, quiet = face(), np.arange(20) < 10
    points[:10, LOWER, 1] += 0.02 * D * np.arange(10)[:, None]
    points[10:, LOWER, 1] += 0.5 * D * alternating(10)[:, None]
    found = values(points, quiet)
    assert found["silent"] == pytest.approx(25 * 0.02) and found["silence"] == pytest.approx(9 / 19)


def test_frames_without_a_face_are_counted_and_bridged_by_nothing():
    points = face()
    points[5:, NOSE, 0] += 3 * D  # a jump, over a frame in which an eye is not found
    points[4, EYES[0][2], 2] = 0.29
    points[4, LOWER, 1] += 99
    found = values(points, np.ones(20, bool))
    assert found["coverage"] == 19 / 20 and found["head"] == 0.0 and found["lips"] == pytest.approx(0, abs=1e-12)
    assert found["silence"] == pytest.approx(17 / 19)
    points[1::2, NOSE, 2] = 0
    assert values(points)["head"] is None  # no two neighbours


def test_hands_are_measured_where_they_are_found():
    points = face()
    left, right = slice(HANDS.start, HANDS.start + 21), slice(HANDS.start + 21, HANDS.stop)
    points[:, left, 0] += 2 * D * alternating()[:, None]  # variance 1 along x, 0 along y
    points[:, right, 2] = 0.1
    points[:, right, :2] = np.random.default_rng(0).normal(0, 99, (20, 21, 2))
    found = values(points)
    assert found["hkv"] == pytest.approx(0.5) and found["hkc"] == pytest.approx((0.9 + 0.1) / 2)
    assert found["hands"] == 0.5
    points[:, left, 2] = 0.1
    assert values(points)["hkv"] is None


@pytest.mark.parametrize("shown", [0, 1])
def test_what_shows_no_face_has_no_dynamics(shown):
    points = face()
    points[shown:, FACE : FACE + 68, 2] = 0
    with pytest.raises(Skip, match=f"{shown} frames show eyes, brows, nose and lips; 2 are needed") as caught:
        measure_dynamics(points, LOUD)
    assert caught.value.reason == "no face"
    heap = face()
    heap[..., :2] = 50.0  # all in one point
    with pytest.raises(Skip, match="0 frames"):
        measure_dynamics(heap, LOUD)


def test_frames_are_silent_beside_the_loud_ones():
    tone = np.sqrt(2) * np.sin(np.arange(640) * 2 * np.pi / 64)  # root of the mean square 1
    levels = np.array([0.5] * 15 + [0.0099, 0.0101, 0.0])
    np.testing.assert_array_equal(
        quiet_frames(np.outer(levels, tone).ravel(), 20), [False] * 15 + [True, False, True, True, True]
    )
    assert quiet_frames(np.outer([9e-4] * 3, tone).ravel(), 3).all()  # of a silent recording all frames
    assert not quiet_frames(None, 3).any() and not quiet_frames(np.zeros(0), 3).any()
    assert len(quiet_frames(np.ones(5 * 640), 3)) == 3  # what is longer than the picture
