"""Truth of puppet clips as the judge learns it."""

import numpy as np
import pytest

from actavatar_jax.evaluation.scores import Judgement
from actavatar_jax.puppets.dataset import TEST_SEED, TRAIN_SEEDS
from actavatar_jax.puppets.judge.examples import JUDGE_SEEDS, action_shares, controls, early, example_of
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.clips import Cue, World, make_clip

NAMES = tuple(ACTIONS)


def test_shares_are_one_half_at_the_edges_and_sum_to_one():
    first, second, third = NAMES[:3]
    cues = (Cue(0.4, 1.2, second), Cue(1.2, 2.0, first), Cue(2.4, 2.8, third))
    shares = action_shares(cues, NAMES, 77)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares[[10, 30], 2] == pytest.approx(0.5) and shares[[30, 50], 1] == pytest.approx(0.5)
    assert shares[[13, 27], 2] == pytest.approx(1) and shares[[7, 33], 2] == pytest.approx(0)
    assert shares[55, 0] == 1 and shares[10, 0] == pytest.approx(0.5) and shares[30, 0] == pytest.approx(0)
    assert (action_shares((), NAMES, 5) == np.eye(1 + len(NAMES))[0]).all()


def test_examples_carry_the_clips_truth_at_the_judges_size():
    clip = make_clip(JUDGE_SEEDS[0], World(side=128, frames=17))
    example = example_of(clip)
    assert example.frames.shape == (17, 64, 64, 3) and example.frames.dtype == np.uint8
    means = clip.frames.reshape(17, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    assert np.abs(example.frames - means).max() <= 0.5
    np.testing.assert_allclose(example.mouth, np.stack([clip.opening, clip.width], axis=1), atol=1e-6)
    assert example.hands.shape == (17, 2, 2)
    # The left hand is on the viewer's right.
    assert (example.hands[:, 0, 0] > example.hands[:, 1, 0]).mean() > 0.5


def test_the_judges_clips_are_no_one_elses():
    assert JUDGE_SEEDS.start >= TRAIN_SEEDS.stop and JUDGE_SEEDS.start > TEST_SEED


def test_sound_that_comes_early():
    assert early(np.arange(1.0, 6.0), 2).tolist() == [3, 4, 5, 0, 0]


def test_controls_spoil_pictures_and_truth_as_they_say():
    clips = [make_clip(seed, World(frames=33)) for seed in JUDGE_SEEDS[:3]]
    judged = []

    def judge(frames):
        """Sees through: finds the clip by its frames' brightness and gives its opening back."""
        judged.append(frames)
        clip = next(c for c in clips if frames[0].tobytes() in (c.frames[0].tobytes(), c.frames[-1].tobytes()))
        still = (frames == frames[0]).all()
        actions = np.zeros((33, len(NAMES))) if still else action_shares(clip.cues, NAMES, 33)[:, 1:].astype(float)
        backwards = frames[0].tobytes() == clip.frames[-1].tobytes()
        opening = np.zeros(33) if still else clip.opening
        step = -1 if backwards else 1
        return Judgement(NAMES, actions[::step], opening[::step], opening, np.zeros((33, 2, 2)), np.ones((33, 4)))

    reports = controls(judge, clips)
    assert len(judged) == 12
    assert reports["as drawn"]["hit"].value == reports["as drawn"]["lip"].value == pytest.approx(1)
    assert reports["frozen"]["hit"].value == reports["frozen"]["lip"].value == 0
    assert reports["reversed"]["lip"].value < 0.9
    assert reports["sound 3 frames early"]["lag"].value == 3
