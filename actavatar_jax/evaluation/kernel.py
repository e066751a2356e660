"""The kernel distance between two sets of feature vectors, without bias; float64 throughout.

G and H groups of vectors of D features, a group being what one video gave (`frechet.py`). Vectors of one group are
alike, so that only pairs of different groups tell how far apart the members of a set are.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64, Int

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.frechet import SEED, Group
from actavatar_jax.evaluation.results import Interval


def kernel_distance(one: Sequence[Group], other: Sequence[Group], resamples: int = 0) -> tuple[float, Interval | None]:
    """The squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, and its 95 % interval of groups drawn anew.

    Without bias: within a set only pairs of different groups count. With one vector per group that is KID's estimate
    (Binkowski et al., arXiv 1801.01401) of the whole sets. It can be negative.

    Raises InputError for fewer than two groups in a set.
    """
    if min(len(one), len(other)) < 2:
        raise InputError(
            f"The sets are of {len(one)} and {len(other)} videos; a kernel distance takes at least 2 of each."
        )
    within_one, within_other, between = _sums(one, one), _sums(other, other), _sums(one, other)
    sizes = [np.array([len(group) for group in groups], float) for groups in (one, other)]

    def distance(counts_one: Int[np.ndarray, " G"], counts_other: Int[np.ndarray, " H"]) -> float:
        """Of the sets in which each group stands so many times."""
        return (
            _mean_within(within_one, counts_one, sizes[0])
            + _mean_within(within_other, counts_other, sizes[1])
            - 2 * counts_one @ between @ counts_other / ((counts_one @ sizes[0]) * (counts_other @ sizes[1]))
        )

    value = float(distance(np.ones(len(one), int), np.ones(len(other), int)))
    return value, _interval(distance, len(one), len(other), resamples)


def _sums(one: Sequence[Group], other: Sequence[Group]) -> Float64[np.ndarray, "G H"]:
    """Of every pair of groups the sum of the kernel over their pairs of vectors; one row of groups at a time."""
    columns = np.concatenate(other).astype(np.float64)
    ends = np.cumsum([len(group) for group in other])[:-1]
    rows = []
    for group in one:
        kernel = (group.astype(np.float64) @ columns.T / columns.shape[1] + 1) ** 3
        rows.append([part.sum() for part in np.split(kernel, ends, axis=1)])
    return np.array(rows)


def _mean_within(
    sums: Float64[np.ndarray, "G G"], counts: Int[np.ndarray, " G"], sizes: Float64[np.ndarray, " G"]
) -> float:
    """Mean of the kernel over the pairs of vectors of different groups; a group drawn twice is no pair with itself."""
    pairs = np.outer(counts, counts) * (1 - np.eye(len(counts)))
    return (pairs * sums).sum() / (pairs * np.outer(sizes, sizes)).sum()


def _interval(distance: Callable, groups: int, others: int, resamples: int) -> Interval | None:
    if resamples < 1:
        return None
    generator = np.random.default_rng(SEED)

    def draw(number: int) -> Int[np.ndarray, " G"]:
        while True:
            counts = np.bincount(generator.integers(0, number, number), minlength=number)
            if np.count_nonzero(counts) > 1:  # of one group alone there are no pairs
                return counts

    low, high = np.percentile([distance(draw(groups), draw(others)) for _ in range(resamples)], (2.5, 97.5))
    return float(low), float(high)
