"""Frames of a clip: every one is made of what its schedule says."""

import numpy as np
import pytest

from actavatar_jax.avatarsync import fill_frames, schedule, to_units
from actavatar_jax.errors import InputError
from actavatar_jax.speech import Phoneme

PHONEMES = [
    *(Phoneme("_", 0.0, 0.6), Phoneme("m", 0.6, 0.72), Phoneme("a", 0.72, 1.0)),
    *(Phoneme("p", 1.0, 1.12), Phoneme("a", 1.12, 1.6), Phoneme("_", 1.6, 2.4)),
]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_frames_are_what_the_schedule_says(batch):
    plan = schedule(to_units(PHONEMES), 2.4)
    keyframes = np.random.default_rng(0).uniform(size=(len(plan.keyframes), 2, 3, 3)).astype(np.float32)
    shapes = set()

    def straight(first, second, t):
        shapes.add(t.shape)
        t = t[:, :, None, None, None]
        return first[:, None] * (1 - t) + second[:, None] * t

    frames = fill_frames(keyframes, plan, straight, batch)
    ((_, count),) = shapes  # of the longest interval, up to a power of two: few programs for all clips
    longest = max(np.bincount(plan.left[plan.t > 0]))
    assert longest <= count < 2 * longest and count & (count - 1) == 0 and len(frames) == 60
    times = [keyframe.time for keyframe in plan.keyframes]
    by_time = [np.interp(np.arange(60), times, keyframes[:, *place]) for place in np.ndindex(2, 3, 3)]
    want = np.stack(by_time, -1).reshape(60, 2, 3, 3)
    held = (plan.t == 0) & ~np.isin(np.arange(60), times)
    np.testing.assert_allclose(frames[~held], want[~held], atol=1e-6)
    assert held.any()
    np.testing.assert_array_equal(frames[held], keyframes[plan.left[held]])


def test_nothing_to_fill_and_a_wrong_number():
    plan = schedule([], 0.04)
    keyframe = np.zeros((1, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(fill_frames(keyframe, plan, refuse), keyframe)
    with pytest.raises(InputError, match="2 keyframes for a schedule of 1"):
        fill_frames(np.zeros((2, 2, 2, 3), np.float32), plan, refuse)


def refuse(first, second, t):
    raise AssertionError("there is nothing to interpolate")
