"""The energy of phases: exact on curves, larger than chance on a video that moves when it should."""

import numpy as np
import pytest

from actavatar_jax.errors import Skip
from actavatar_jax.evaluation.bench.energy import STILL, energy_curve, energy_ratio, profile_of, windows_mask
from actavatar_jax.media import write_video
from tests.evaluation.bench.small_bench import make_video


def test_the_ratio_of_a_curve():
    """Four of ten changes lie in the windows; every shift of them has as many in and out."""
    curve = np.array([1.0, 3, 3, 1, 1, 1, 1, 5, 5, 1])
    windows = [(0.04, 0.12), (0.28, 0.36)]
    np.testing.assert_array_equal(np.flatnonzero(windows_mask(windows, 10)), [1, 2, 7, 8])
    found = energy_ratio(curve, windows)
    assert found.ratio == pytest.approx(4 / 1)
    mask = np.isin(np.arange(10), [1, 2, 7, 8])
    shifted = [np.roll(mask, k) for k in range(1, 10)]
    assert found.shuffled == pytest.approx(np.mean([curve[m].mean() / curve[~m].mean() for m in shifted]))
    assert found.shuffled < 1.5


def test_overlapping_windows_count_once_and_what_reaches_out_of_the_clip_does_not():
    np.testing.assert_array_equal(windows_mask([(0, 0.08), (0.04, 0.12)], 5), [1, 1, 1, 0, 0])
    np.testing.assert_array_equal(windows_mask([(0.12, 9)], 5), [0, 0, 0, 1, 1])


@pytest.mark.parametrize(
    ("windows", "level", "reason"),
    [
        ([], 1, "no phases"),
        ([(0, 9)], 1, "no rest"),
        ([(0, 0.2)], 0, "still"),
        ([(0, 0.2)], 0.0102, "still"),  # what H.264 made of the same picture again and again
    ],
)
def test_what_has_no_ratio_has_a_reason(windows, level, reason):
    with pytest.raises(Skip) as skip:
        energy_ratio(np.full(20, float(level)), windows)
    assert skip.value.reason == reason


def test_a_rest_in_which_nothing_moves_is_not_divided_by():
    curve = np.zeros(20)
    curve[:5] = 2.0
    assert energy_ratio(curve, [(0, 0.2)]).ratio == pytest.approx(2.0 / STILL)


def test_who_hardly_moves_is_not_still():
    """The calmest of twelve clips of people who talk."""
    assert energy_ratio(np.full(20, 0.349), [(0, 0.2)]).ratio == pytest.approx(1)


def test_the_curve_is_of_grey_levels_at_one_size(tmp_path):
    """Whole pictures that get brighter by 8 levels a frame, of twice and of half the side that is looked at."""
    for side in (256, 64):
        pictures = [np.full((side, side + 32, 3), 40 + 8 * i, np.uint8) for i in range(10)]
        write_video(tmp_path / f"{side}.mp4", pictures, None)
        curve = energy_curve(tmp_path / f"{side}.mp4")
        assert len(curve) == 9 and curve == pytest.approx(np.full(9, 8), abs=1)


def test_a_video_that_moves_in_its_windows_is_told_from_one_that_moves_elsewhere(tmp_path):
    curve = energy_curve(make_video(tmp_path / "a.mp4", [(0.2, 0.6)]))
    right, wrong = (energy_ratio(curve, [window]) for window in ((0.2, 0.6), (0.6, 1.0)))
    assert right.ratio > 1.5 > 1.0 > wrong.ratio
    assert right.ratio > right.shuffled and wrong.ratio < wrong.shuffled
    assert len(profile_of(curve)) == 5
