"""The Frechet distance between two sets of feature vectors; float64 throughout.

N vectors of D features. A *group* is what one video gave: its vectors depend on one another, so that whole groups are
drawn anew where an interval is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.results import Interval

SEED = 0

Group = Float[np.ndarray, "_ D"]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and covariance (divided by N - 1) of `count` vectors."""

    count: int
    mean: Float64[np.ndarray, " D"]
    covariance: Float64[np.ndarray, "D D"]


def frechet_distance(one: Statistics, other: Statistics) -> float:
    """Between the Gaussians with these means and covariances: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2).

    The trace of (S1 S2)^1/2 is the sum of the roots of the eigenvalues of S1^1/2 S2 S1^1/2, which is symmetric; what
    rounding makes negative is 0. Source: Dowson and Landau (1982); Heusel et al. (arXiv 1706.08500).
    """
    values, vectors = np.linalg.eigh(one.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ other.covariance @ root)
    spread = np.trace(one.covariance) + np.trace(other.covariance) - 2 * np.sqrt(np.maximum(product, 0)).sum()
    return float(np.sum((one.mean - other.mean) ** 2) + spread)


class RunningStatistics:
    """Mean and covariance of vectors that come in batches and are not kept.

    Deviations are summed from the mean so far and moved with it (Chan, Golub and LeVeque, 1979): sums of squares would
    lose what large means have in common.
    """

    def __init__(self, features: int):
        self.count = 0
        self._mean, self._deviation = np.zeros(features), np.zeros((features, features))

    def add(self, vectors: Float[np.ndarray, "N D"]) -> None:
        if not len(vectors):
            return
        vectors = vectors.astype(np.float64)
        mean = vectors.mean(axis=0)
        step, total = mean - self._mean, self.count + len(vectors)
        centred = vectors - mean
        self._deviation += centred.T @ centred + np.outer(step, step) * (self.count * len(vectors) / total)
        self._mean += step * (len(vectors) / total)
        self.count = total

    def result(self) -> Statistics:
        """Raises InputError for fewer than two vectors, which have no covariance."""
        if self.count < 2:
            raise InputError(f"A set has {self.count} feature vectors; a Frechet distance takes at least 2 of each.")
        return Statistics(self.count, self._mean.copy(), self._deviation / (self.count - 1))


def statistics(groups: Sequence[Group]) -> Statistics:
    """Of the vectors of all groups, of which there is at least one; raises as `RunningStatistics.result`."""
    vectors = np.concatenate(groups)
    running = RunningStatistics(vectors.shape[1])
    running.add(vectors)
    return running.result()


def frechet_interval(value: float, one: Sequence[Group], other: Sequence[Group], resamples: int) -> Interval | None:
    """95 % interval of the distance `value` by drawing groups anew; None for fewer than two groups in a set.

    A set with repetitions is farther from any other than the set itself, as if it were smaller: that shift, the same
    for all draws, is taken out. What is left is how far the value scatters with the choice of videos. The bias of the
    sample's size stays in it as it stays in the value.
    """
    if resamples < 1 or min(len(one), len(other)) < 2:
        return None
    generator = np.random.default_rng(SEED)

    def draw(groups: Sequence[Group]) -> Statistics:
        return statistics([groups[i] for i in generator.integers(0, len(groups), len(groups))])

    drawn = np.array([frechet_distance(draw(one), draw(other)) for _ in range(resamples)])
    low, high = np.percentile(drawn - drawn.mean(), (2.5, 97.5))
    return float(value + low), float(value + high)
