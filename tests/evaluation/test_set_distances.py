"""Frechet and kernel distances against SciPy, closed forms and restatements; their intervals against repeated draws."""

import numpy as np
import pytest
import scipy.linalg

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.frechet import (
    RunningStatistics,
    Statistics,
    frechet_distance,
    frechet_interval,
    statistics,
)
from actavatar_jax.evaluation.kernel import kernel_distance


def draws(seed, groups, features=6, size=1, shift=0.0, spread=1.0):
    """Groups of vectors: what a group has in common varies as much as its vectors do."""
    generator = np.random.default_rng(seed)
    common = generator.normal(shift, spread, (groups, 1, features))
    return list(common + (generator.normal(0, spread, (groups, size, features)) if size > 1 else 0))


def numpy_statistics(vectors):
    return Statistics(len(vectors), vectors.mean(axis=0), np.cov(vectors, rowvar=False))


# ---- Frechet


def test_frechet_distance_is_that_of_scipy():
    """Of full rank, and of fewer vectors than features, where eigenvalues are zero but for rounding."""
    for count in (200, 12):
        generator = np.random.default_rng(count)
        one = numpy_statistics(generator.normal(size=(count, 30)) * np.linspace(0.1, 3, 30) + 0.5)
        other = numpy_statistics(generator.normal(size=(count, 30)) @ generator.normal(size=(30, 30)))
        root = scipy.linalg.sqrtm(one.covariance @ other.covariance).real
        want = np.sum((one.mean - other.mean) ** 2) + np.trace(one.covariance + other.covariance - 2 * root)
        assert frechet_distance(one, other) == pytest.approx(want, rel=1e-8 if count > 30 else 1e-5)
        # Square roots of eigenvalues that are zero but for rounding have half of its digits.
        assert frechet_distance(other, one) == pytest.approx(
            frechet_distance(one, other), rel=1e-9 if count > 30 else 1e-8
        )


def test_frechet_distance_of_diagonal_covariances_has_a_closed_form():
    one = Statistics(9, np.array([1.0, 2.0]), np.diag([4.0, 9.0]))
    other = Statistics(9, np.array([4.0, -2.0]), np.diag([1.0, 25.0]))
    assert frechet_distance(one, other) == pytest.approx(9 + 16 + (2 - 1) ** 2 + (3 - 5) ** 2)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_running_statistics_are_those_of_all_vectors_at_once():
    """Also far from zero, where sums of squares in float64 would lose eight digits."""
    vectors = np.random.default_rng(0).normal(size=(57, 5)).astype(np.float32) + np.float32(4096)
    running = RunningStatistics(5)
    for batch in np.split(vectors, [1, 1, 20, 50]):
        running.add(batch)
    want = numpy_statistics(vectors.astype(np.float64))
    assert running.count == 57
    np.testing.assert_allclose(running.result().mean, want.mean, rtol=1e-14)
    np.testing.assert_allclose(running.result().covariance, want.covariance, rtol=1e-10)


def test_one_vector_has_no_covariance():
    with pytest.raises(InputError, match="A set has 1 feature vectors; a Frechet distance takes at least 2"):
        statistics([np.zeros((1, 4))])


def test_the_bias_of_small_sets_is_as_documented():
    """Two sets of one Gaussian: the distance is all bias, and falls about as one over their size."""
    values = []
    for count in (50, 200):
        one, other = (np.random.default_rng(seed).normal(size=(count, 20)) for seed in (1, 2))
        values.append(frechet_distance(numpy_statistics(one), numpy_statistics(other)))
    assert 2.5 < values[0] / values[1] < 6.5


def test_the_interval_of_frechet_is_around_the_value_and_as_wide_as_repeated_draws_scatter():
    """The draws of a bootstrap alone lie all above the value, as these sets are small for their features."""
    values, intervals = [], []
    for seed in range(20):
        one, other = draws(seed, 40, 12), draws(1000 + seed, 40, 12, shift=0.5)
        values.append(frechet_distance(statistics(one), statistics(other)))
        intervals.append(frechet_interval(values[-1], one, other, 50))
    assert all(low < value < high for value, (low, high) in zip(values, intervals, strict=True))
    width = np.mean([high - low for low, high in intervals]) / (2 * 1.96)
    print(f"scatter by draws / of values: {width / np.std(values):.2f}")
    assert 0.6 < width / np.std(values) < 1.7
    assert frechet_interval(values[-1], one, other, 50) == intervals[-1]


def test_no_interval_of_single_videos_or_without_draws():
    one = draws(0, 1, size=5)
    assert frechet_interval(0.0, one, one, 50) is None
    assert frechet_interval(0.0, draws(0, 3), draws(1, 3), 0) is None


# ---- the kernel distance


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def unbiased(x, y):
    """KID as its authors write it, of the whole sets."""
    m, n = len(x), len(y)
    within = (kernel(x, x).sum() - np.trace(kernel(x, x))) / (m * (m - 1))
    within += (kernel(y, y).sum() - np.trace(kernel(y, y))) / (n * (n - 1))
    return within - 2 * kernel(x, y).mean()


def test_kernel_distance_of_single_vectors_is_kid():
    one, other = draws(0, 9), draws(1, 12, shift=0.3)
    value, interval = kernel_distance(one, other)
    assert value == pytest.approx(unbiased(np.concatenate(one), np.concatenate(other)), rel=1e-12)
    assert interval is None


def test_kernel_distance_has_no_bias_whatever_videos_have_in_common():
    """Of one distribution the mean is 0; were pairs within a video counted, it would be far above."""
    values, naive = [], []
    for seed in range(100):
        one, other = draws(seed, 4, features=3, size=5), draws(1000 + seed, 6, features=3, size=5)
        values.append(kernel_distance(one, other)[0])
        naive.append(unbiased(np.concatenate(one), np.concatenate(other)))
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 3 * error
    assert np.mean(naive) > 6 * error


def test_the_interval_of_the_kernel_distance_is_as_wide_as_repeated_draws_scatter():
    values, intervals = [], []
    for seed in range(20):
        one, other = draws(seed, 30, size=3), draws(1000 + seed, 30, size=2, shift=0.6)
        value, interval = kernel_distance(one, other, 100)
        values.append(value)
        intervals.append(interval)
    width = np.mean([high - low for low, high in intervals]) / (2 * 1.96)
    print(f"scatter by draws / of values: {width / np.std(values):.2f}")
    assert 0.6 < width / np.std(values) < 1.7
    assert all(low < value < high for value, (low, high) in zip(values, intervals, strict=True))


def test_kernel_distance_takes_two_videos():
    with pytest.raises(InputError, match="The sets are of 1 and 3 videos; a kernel distance takes at least 2"):
        kernel_distance(draws(0, 1, size=4), draws(1, 3))
