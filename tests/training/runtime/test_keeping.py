"""Whatever the distance of checkpoints, a sound one stays until a newer one has proven sound."""

import numpy as np
import pytest

from actavatar_jax.training.runtime.keeping import PROVEN, kept, newest_sound


def test_the_checkpoint_to_trust_is_the_newest_one_with_enough_good_steps_behind_it():
    assert newest_sound([500, 1000], 1000 + PROVEN) == 1000
    assert newest_sound([500, 1000], 1000 + PROVEN - 1) == 500
    assert newest_sound([500, 1000], 510) == 500  # none is proven: the oldest is all there is
    assert newest_sound([500], 500) == 500


def test_usually_the_newest_two_stay():
    assert kept([1000, 1500, 2000]) == {1500, 2000}


def test_what_was_saved_close_together_does_not_push_out_the_sound_one():
    assert kept([10, 40, 41, 42, 43]) == {10, 40, 42, 43}
    assert kept([10, 40, 42, 43, 60]) == {40, 42, 43, 60}


@pytest.mark.parametrize("longest", [1, 3, PROVEN, 100])
def test_one_that_is_not_much_older_than_needed_always_stays_and_they_are_few(longest):
    rng = np.random.default_rng(0)
    steps, trusted = [], 0
    for step in np.cumsum(rng.integers(1, longest + 1, 300)).tolist():
        steps = sorted(kept([*steps, step]))
        assert len(steps) <= 4 and steps[-1] == step
        assert newest_sound(steps, step) >= trusted  # an older one is never gone back to
        trusted = newest_sound(steps, step)
        assert step - trusted <= 2 * PROVEN + longest
