"""The 25 fps clock: frame arithmetic, and choosing frames by time stamp."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from actavatar_jax.media import clock

SLOT = Fraction(1, 25)


def place(times, last):
    """Time stamps chosen for slots 0, 1, ... from (time, its distance to the next, time)."""
    durations = [b - a for a, b in itertools.pairwise(times)] + [last]
    return list(clock.nearest_frames(zip(times, durations, times, strict=True)))


def test_latent_frames():
    assert [clock.latent_frames(n) for n in (1, 5, 121, 125)] == [1, 2, 31, 32]
    for wrong in (0, -3, 2, 4, 124, 126):
        with pytest.raises(InputError, match="4k"):
            clock.latent_frames(wrong)


def test_floor_frames():
    assert [clock.floor_frames(n) for n in (1, 4, 5, 8, 9, 124, 125)] == [1, 1, 5, 5, 9, 121, 125]
    with pytest.raises(InputError):
        clock.floor_frames(0)


def test_frame_count():
    assert clock.SAMPLES_PER_FRAME == 640
    assert [clock.frame_count(n) for n in (0, 639, 640, 80_000)] == [0, 0, 1, 125]


def test_latent_times_are_means_of_the_frames_coded():
    expected = [0.0] + [np.mean([frame / 25 for frame in range(4 * i - 3, 4 * i + 1)]) for i in range(1, 32)]
    np.testing.assert_allclose(clock.latent_times(32), expected, rtol=1e-6)


@pytest.mark.parametrize("fps", [25, 24, 30, 50, 60, Fraction(30000, 1001), 10])
def test_constant_rates_keep_their_length(fps):
    times = [Fraction(n) / fps for n in range(int(fps * 4))]
    chosen = place(times, 1 / Fraction(fps))
    assert len(chosen) == round(len(times) / fps * 25)
    if fps == 25:
        assert chosen == times
    if fps >= 25:
        assert max(abs(time - k * SLOT) for k, time in enumerate(chosen)) <= Fraction(1, 50)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=60), st.integers(-10_000, 10_000))
def test_irregular_time_stamps(steps, start):
    """Spacing up to 40 ms (in 0.1 ms) and any start: at most 20 ms from the slot, at most one frame in length."""
    times = [Fraction(start + sum(steps[:n]), 10_000) for n in range(len(steps))]
    chosen = place(times, Fraction(steps[-1], 10_000))
    assert max(abs(time - times[0] - k * SLOT) for k, time in enumerate(chosen)) <= Fraction(1, 50)
    assert abs(len(chosen) * SLOT - Fraction(sum(steps), 10_000)) < SLOT


def test_a_frame_is_held_over_a_hole_until_the_middle():
    times = [Fraction(n, 25) for n in (0, 1, 6, 7)]
    assert [int(time * 25) for time in place(times, SLOT)] == [0, 1, 1, 1, 6, 6, 6, 7]


def test_repeated_and_backward_time_stamps_are_left_out():
    times = [Fraction(n, 25) for n in (0, 1, 1, 0, 2)]
    timed = [(time, SLOT, index) for index, time in enumerate(times)]
    assert list(clock.nearest_frames(timed)) == [0, 1, 4]


def test_one_frame_and_none():
    assert place([Fraction(7)], Fraction(1, 100)) == [Fraction(7)]
    assert list(clock.nearest_frames([])) == []
