"""Motion: gesturing above resting hands, nothing for hands that a model invents, and cameras told from people."""

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.keypoints import Landmarker
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world.clips import make_clip
from data_pipelines.filters.camera import CameraMotion
from data_pipelines.filters.gestures import HANDS, SHOULDERS, measure_gestures
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from tests.data import tiny_models
from tests.data.puppet_motion import WORLD
from tests.data.puppet_motion import score as score_puppet

HEIGHT, WIDTH, FRAMES, FPS = 720, 1280, 125, 25
SHOULDER = 260  # pixels between the shoulders
(LEAST,) = (rule.value for rule in RuleSet.load(DEFAULT_RULES / "stage2.yaml").rules if rule.column == "motion.score")


def person(amplitude=(0.0, 0.0), hands_at=450, noise=1.0, confidence=0.8, active=(0, 5), frames=FRAMES, fps=FPS):
    """Keypoints [F, 133, 3] of somebody whose hands swing at 1 Hz, `amplitude` shoulder widths to each side."""
    rng = np.random.default_rng(0)
    points = np.zeros((frames, 133, 3))
    points[..., 2] = 0.9
    points[..., :2] = 640, 300
    points[:, 0, 1] = 180  # nose
    points[:, 5, :2], points[:, 6, :2] = (640 + SHOULDER / 2, 330), (640 - SHOULDER / 2, 330)
    points[:, 13:17, 1] = 1500  # legs below the picture
    time = np.arange(frames) / fps
    swing = np.sin(2 * np.pi * time) * ((time >= active[0]) & (time < active[1]))
    for hand, side, size in zip(HANDS, (1, -1), amplitude, strict=True):
        points[:, hand, 0] = 640 + side * 150 + swing[:, None] * size * SHOULDER
        points[:, hand, 1] = hands_at
        points[:, hand, 2] = confidence
    points[..., :2] += rng.normal(0, noise, points[..., :2].shape)
    return points


def invented(confidence=0.8):
    """Only head and shoulders are in the picture; below it hands are made up anew in every frame."""
    points = person(hands_at=HEIGHT + 150, noise=1.0, confidence=confidence)
    rng = np.random.default_rng(1)
    for hand in HANDS:
        points[:, hand, :2] += np.cumsum(rng.normal(0, 20, (FRAMES, 1, 2)), 0)
        points[:, hand, 1] = np.maximum(points[:, hand, 1], HEIGHT + 5)
    return points


SITUATIONS = {
    "both hands": person((0.18, 0.18)),
    "one hand": person((0.0, 0.17)),
    "resting": person(),
    "at the end": person((0.18, 0.18), active=(4, 5)),
    "head only": invented(),
    "unsure": person((0.6, 0.6), confidence=0.2),
}


def score(points, gate=True):
    if not gate:  # everything counts as seen: all points sure, in a picture without an end
        points = points + np.array([1e5, 1e5, 0])
        points[..., 2] = 1
        return measure_gestures(points, 10**6, 10**6, FPS)["score"]
    return measure_gestures(points, HEIGHT, WIDTH, FPS)["score"]


def test_with_the_gate_gestures_rank_above_rest_and_invented_hands_get_nothing():
    scores = {name: score(points) for name, points in SITUATIONS.items()}
    assert scores["both hands"] > scores["one hand"] > LEAST > scores["resting"]
    assert scores["head only"] == scores["unsure"] == 0


def test_without_the_gate_hands_outside_of_the_picture_win():
    ungated = {name: score(points, gate=False) for name, points in SITUATIONS.items()}
    assert ungated["head only"] > ungated["both hands"] and ungated["unsure"] > ungated["both hands"]


def test_the_profile_shows_a_gesture_that_the_mean_hides():
    row = measure_gestures(SITUATIONS["at the end"], HEIGHT, WIDTH, FPS)
    assert row["score"] < LEAST and len(row["profile"]) == 50
    profile = np.array(row["profile"])
    assert profile[41:49].mean() > 0.5 > 0.2 > profile[:39].max()


def test_speed_is_that_of_the_faster_hand_in_shoulder_widths_per_second():
    row = measure_gestures(person((0.1, 0.25), noise=0), HEIGHT, WIDTH, FPS)
    assert row["speed"] == pytest.approx(4 * 0.25, rel=0.05)  # four times the amplitude in each second
    assert row["hand_visible"] == 1 and row["leg_visible"] == 0
    assert row["score"] == pytest.approx(row["speed"])
    assert row["head_speed"] == row["torso_speed"] == 0


def test_half_the_frame_rate_is_the_same_speed():
    fast, slow = person((0.25, 0.25), noise=0), person((0.25, 0.25), noise=0, frames=63, fps=12.5)
    speeds = [measure_gestures(p, HEIGHT, WIDTH, f)["speed"] for p, f in ((fast, 25), (slow, 12.5))]
    assert speeds[0] == pytest.approx(speeds[1], rel=0.1)


@pytest.mark.parametrize("scale, pan", [(0.5, 0), (1, 30), (1, -30)])
def test_neither_size_nor_camera_changes_the_speed(scale, pan):
    points = person((0.2, 0.2), noise=0)
    moved = points * [scale, scale, 1] + np.stack([np.arange(FRAMES) * pan / FPS, *np.zeros((2, FRAMES))], -1)[:, None]
    speeds = [measure_gestures(p, HEIGHT, WIDTH, FPS) for p in (points, moved)]
    assert speeds[0]["speed"] == pytest.approx(speeds[1]["speed"])
    assert speeds[1]["torso_speed"] == pytest.approx(abs(pan) / SHOULDER / scale, abs=1e-9)


def test_one_wild_frame_is_smoothed_away():
    points = person(noise=0)
    points[60, HANDS[0], 0] += 300
    assert score(points) == 0


def test_hands_count_only_while_they_are_shown():
    points = person((0.25, 0.25), noise=0)
    points[50:, np.ravel(HANDS), 1] = HEIGHT + 1
    row = measure_gestures(points, HEIGHT, WIDTH, FPS)
    assert row["hand_visible"] == pytest.approx(50 / 124, abs=0.02)
    assert row["score"] == pytest.approx(row["speed"] * row["hand_visible"])
    assert row["profile"][-1] is None and row["profile"][0] is not None


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_without_shoulders_or_time_there_is_no_motion(frames):
    points = person((0.2, 0.2))[:frames]
    assert measure_gestures(points, HEIGHT, WIDTH, FPS)["score"] >= 0
    points[:, SHOULDERS, 2] = 0
    row = measure_gestures(points, HEIGHT, WIDTH, FPS)
    assert row["score"] == 0 and row["head_speed"] is None and row["torso_speed"] is None


def textured(height=180, width=320):
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 255, (height // 10, width // 10 + 20, 3)), np.ones((10, 10, 1))).astype(np.uint8)


def watch(background_step=0, person_step=0):
    """The camera's speed over 2 s; both steps in pixels per sample."""
    camera, wall, body = CameraMotion(), textured(), textured()[:, ::-1]
    points = np.zeros((133, 3))
    points[:4] = [[80, 40, 1], [240, 40, 1], [80, 170, 1], [240, 170, 1]]
    for index in range(10):
        frame = wall[:, index * background_step :][:, :320].copy()
        frame[30:, 50:270] = body[30:, 50 + index * person_step :][:, :220]  # most of the picture
        camera.add_frame(frame, points)
    return camera.speed()


def test_puppets_at_rest_score_nothing_and_those_that_clap_pass():
    """By their true joints; `puppet_motion` prints the scores of many."""
    pytest.importorskip("espeakng_loader")
    clap = make_clip(1, WORLD, prompt=StructuredPrompt.parse("A person speaks. [0-5s] Claps the hands."))
    rest = make_clip(1, WORLD, prompt=StructuredPrompt("A person speaks."))
    assert score_puppet(clap) > LEAST > 0.05 > score_puppet(rest)


def test_a_moving_camera_is_told_from_a_moving_person():
    assert watch(background_step=8) == pytest.approx(8 / 320 * 5, rel=0.1)
    assert watch(person_step=8) < 0.005


def test_a_plain_wall_says_nothing_of_the_camera():
    camera = CameraMotion()
    for _ in range(3):
        camera.add_frame(np.full((90, 160, 3), 128, np.uint8), np.zeros((133, 3)))
    assert camera.speed() is None


@pytest.fixture(scope="module")
def dwpose(tmp_path_factory):
    pytest.importorskip("rtmlib")
    folder = tmp_path_factory.mktemp("dwpose")
    return tiny_models.person(folder / "person.onnx"), tiny_models.pose(folder / "pose.onnx")


def test_the_person_is_found_and_both_models_get_their_order_of_channels(dwpose):
    blue = np.zeros((320, 320, 3), np.uint8)
    blue[..., 2] = 200
    (points,) = Landmarker(*dwpose)([blue])
    assert points[:, :2] == pytest.approx(np.tile(np.array(tiny_models.PERSON) / 2, (133, 1)), abs=1)
    assert (points[:, 2] > 0.7).all()
    (red,) = Landmarker(*dwpose)([np.ascontiguousarray(blue[..., ::-1])])  # no person: the whole picture is one
    assert red[:, :2] == pytest.approx(np.full((133, 2), 160), abs=1)
    assert (red[:, 2] < 0.3).all()


def test_a_person_is_looked_for_once_a_second_whatever_the_batches(dwpose):
    blue, red = (np.full((320, 320, 3), colour, np.uint8) for colour in ([0, 0, 200], [200, 0, 0]))
    frames = [blue] * 3 + [red] * 22 + [red] * 5 + [blue]
    points = np.stack(list(Landmarker(*dwpose)(frames)))
    person, whole = np.array(tiny_models.PERSON) / 2, [160, 160]
    np.testing.assert_allclose(points[:25, :, :2], np.broadcast_to(person, (25, 133, 2)), atol=1)
    np.testing.assert_allclose(points[25:, :, :2], np.broadcast_to(whole, (6, 133, 2)), atol=1)
    assert ((points[:, :, 2] > 0.5).all(1) == [frame is blue for frame in frames]).all()
    assert (next(Landmarker(*dwpose)([red]))[:, 0] > 150).all()  # another clip is looked at afresh


def test_swapped_models_are_refused(dwpose):
    with pytest.raises(InputError, match=r"(person|pose)\.onnx"):
        Landmarker(dwpose[1], dwpose[0])
