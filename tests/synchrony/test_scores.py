"""Distances, confidence and offset of features whose fit is known."""

import numpy as np
import pytest

from actavatar_jax.synchrony.scores import SHIFT, measure_shifts, score_shifts


def features(count, seed=0, width=8):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("late", [0, 1, 6, -4, 15, -15])
def test_copies_that_come_late_have_their_negative_for_an_offset_and_no_distance(late):
    """Frame i of the picture fits frame i + late of the sound."""
    whole = features(200)
    seen, heard = whole[50:150], whole[50 - late : 150 - late]
    scores = score_shifts(seen, heard)
    assert scores.offset == -late and scores.windows == 100
    within = slice(max(0, -late), 100 - max(0, late))  # beyond, zeros are heard
    np.testing.assert_allclose(measure_shifts(seen, heard)[within, SHIFT + late], 0, atol=1e-5)
    if late == 0:
        assert scores.distance < 1e-5


def test_distances_are_those_of_pytorch_with_zeros_beyond_the_ends():
    torch = pytest.importorskip("torch")
    seen, heard = features(40, 1), 3 + features(40, 2)  # zeros are far from what is heard
    padded = torch.nn.functional.pad(torch.from_numpy(heard), (0, 0, SHIFT, SHIFT))
    expected = [
        torch.pairwise_distance(torch.from_numpy(row)[None], padded[i : i + 2 * SHIFT + 1])
        for i, row in enumerate(seen)
    ]
    np.testing.assert_allclose(measure_shifts(seen, heard), torch.stack(expected).numpy(), rtol=1e-6)


def test_a_millionth_is_added_to_each_component():
    same = np.ones((5, 1024), np.float32)
    assert measure_shifts(same, same)[2, SHIFT] == pytest.approx(1e-6 * 32, rel=1e-4)


def test_confidence_is_the_median_of_all_shifts_above_the_smallest():
    """One shift fits and fourteen are far off: the mean would be drawn away."""
    seen = np.zeros((60, 1), np.float32)
    heard = np.concatenate([np.full((30, 1), 1), np.full((30, 1), 100)]).astype(np.float32)
    scores, means = score_shifts(seen, heard), measure_shifts(seen, heard).mean(0)
    assert abs(np.median(means) - means.mean()) > 0.1
    assert scores.confidence == pytest.approx(np.sort(means)[SHIFT] - means.min())
    assert scores.distance == pytest.approx(means.min())


def test_frames_that_do_not_fit_have_a_low_confidence_and_four_in_a_row_are_smoothed_away():
    seen = features(100, width=64)
    heard, others = seen.copy(), features(100, 9, width=64)
    for start, end in ((40, 45), (80, 84)):
        heard[start:end] = others[start:end]
    scores = score_shifts(seen, heard)
    fits = np.median(measure_shifts(seen, heard).mean(0))
    assert scores.frame_confidence.shape == (100,)
    assert scores.frame_confidence[[20, 39, 79, 80, 82, 83]] == pytest.approx(fits, rel=1e-4)
    assert scores.frame_confidence[42] < 0.3 * fits
