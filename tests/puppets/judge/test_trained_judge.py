"""The judge that ships, on clips that it has never seen: right where they are right, and hard to fool."""

import numpy as np
import pytest

from actavatar_jax.evaluation import Truth, score_clips
from actavatar_jax.evaluation.measures import identity_drift
from actavatar_jax.puppets.judge import SHIPPED_JUDGE, load_judge
from actavatar_jax.puppets.judge.examples import HANDS, JUDGE_SEEDS, controls
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.clips import World, make_clip

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SHIPPED_JUDGE.is_dir(), reason="no trained judge is here")]


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def clips():
    return [make_clip(seed, World()) for seed in JUDGE_SEEDS[-16:]]


@pytest.fixture(scope="module")
def reports(judge, clips):
    return controls(judge, clips)


def test_it_knows_the_actions_of_today(judge):
    assert judge.config.actions == tuple(ACTIONS)


def test_real_renders_score_near_one(reports):
    real = reports["as drawn"]
    assert real["hit"].value > 0.9 and real["accuracy"].value > 0.9 and real["iou"].value > 0.75
    assert real["centre"].value > 0.95 and real["correctness"].value > 9
    assert real["lip"].value > 0.9 and real["lag"].value == 0 and real["lag_within_1"].value > 0.9
    assert real["drift"].value < 0.1


def test_frozen_clips_score_near_zero(reports):
    frozen = reports["frozen"]
    assert frozen["hit"].value < 0.1 and frozen["iou"].value < 0.15 and frozen["lip"].value == 0


def test_wrong_windows_and_reversed_clips_fall(reports):
    real, back = reports["as drawn"], reports["reversed"]
    assert real["hit_swapped"].value < 0.2 and real["correctness_swapped"].value < 2
    assert real["iou_gap"].low > 0.2  # in 3 s, windows of other clips overlap much
    assert back["iou"].value < real["iou"].value - 0.3 and back["lip"].value < real["lip"].value - 0.3


def test_shifted_sound_moves_the_lag_by_exactly_the_shift(reports):
    assert reports["sound 3 frames early"]["lag"].value == 3
    assert reports["sound 3 frames early"]["lip"].value > 0.9


def test_hands_are_found(judge, clips):
    error = [np.abs(judge(clip.frames).hands.reshape(-1, 4) - clip.joints[:, HANDS]).mean() for clip in clips]
    assert np.mean(error) < 0.05  # of the side: 3 pixels


def test_another_person_is_seen_as_drift(judge, clips):
    faces = np.stack([judge(clip.frames[:1]).embeddings[0] for clip in clips])
    other = [identity_drift(faces[[i, (i + 1) % len(faces)]]) for i in range(len(faces))]
    assert np.mean(other) > 0.5


@pytest.mark.parametrize("side", [32, 128])
def test_clips_of_half_and_twice_the_size_are_judged_alike(judge, side):
    others = [make_clip(seed, World(side=side)) for seed in JUDGE_SEEDS[-4:]]
    report = score_clips([judge(clip.frames) for clip in others], [Truth(clip.cues, clip.opening) for clip in others])
    assert report["hit"].value > 0.8 and report["lip"].value > 0.85
