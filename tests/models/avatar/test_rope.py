"""RIFLEx in the table of the rotary embedding."""

import numpy as np

from actavatar_jax.models.avatar.rope import rope_table


def angles(table, pairs):
    """Of every token, as the complex numbers that they turn by."""
    return (table[0] + 1j * table[1])[:, :pairs]


def test_riflex_slows_the_sixth_frequency_of_time_alone():
    """Of 44 pairs for time, as Wan has them with heads 128 wide; 51 latent frames are 201 frames of video."""
    grid = (51, 2, 2)
    plain, slowed = (angles(rope_table(grid, 128, riflex), 64).reshape(*grid, 64) for riflex in (None, 51))
    np.testing.assert_array_equal(np.delete(slowed, 5, axis=-1), np.delete(plain, 5, axis=-1))
    turned = np.unwrap(np.angle(slowed[:, 0, 0, 5].astype(np.complex128)))
    np.testing.assert_allclose(turned, np.arange(51) * 0.9 * 2 * np.pi / (51 * 4.886), atol=1e-5)


def test_a_part_of_a_video_is_turned_as_in_the_whole():
    whole, part = (angles(rope_table((frames, 1, 1), 24, 40), 12) for frames in (40, 7))
    np.testing.assert_array_equal(whole[:7], part)  # of 4 pairs for time the last one is slowed
    assert np.any(part != angles(rope_table((7, 1, 1), 24), 12))
