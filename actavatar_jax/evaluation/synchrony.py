"""Sync-C and Sync-D of many videos: what their mean is of, and what could not be scored."""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actavatar_jax.synchrony import NotScored, Synchrony

MIN_TRACKS = (50, 100)  # of LatentSync's and of SyncNet's own evaluation


@dataclass(frozen=True)
class SynchronySummary:
    """Means over the videos that have scores.

    confidence, distance: Sync-C and Sync-D, None where no video has any. coverage: the share of all videos that are
    scored, by minimum track. reasons: why the others are not, and how many.
    """

    videos: int
    confidence: float | None
    distance: float | None
    coverage: Mapping[int, float]
    reasons: Mapping[str, int]

    def line(self) -> str:
        """In one line, with what the means are of."""
        if self.confidence is None:
            scores = "Sync-C and Sync-D not available"
        else:
            scores = f"Sync-C {self.confidence:.3f}, Sync-D {self.distance:.3f}"
        shares = ", ".join(f"{share:.0%} at {length}" for length, share in self.coverage.items())
        shares = shares.replace(" at ", " at a minimum track of ", 1)
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        videos = f"{self.videos} video{'s' * (self.videos != 1)}, scored {shares}"
        return f"{scores} | {videos}{f': {reasons}' * bool(reasons)}"


def summarise_synchrony(results: Sequence[Synchrony | NotScored]) -> SynchronySummary:
    """The summary of videos that were scored with a minimum track of 50, its default, or less."""
    scored = [result for result in results if isinstance(result, Synchrony)]
    reasons = collections.Counter(result.reason for result in results if isinstance(result, NotScored))
    return SynchronySummary(
        videos=len(results),
        confidence=float(np.mean([one.scores.confidence for one in scored])) if scored else None,
        distance=float(np.mean([one.scores.distance for one in scored])) if scored else None,
        coverage={length: _share(scored, length, len(results)) for length in MIN_TRACKS},
        reasons=dict(reasons.most_common()),
    )


def _share(scored: Sequence[Synchrony], min_track: int, videos: int) -> float:
    """Of the videos, those whose face is both seen and heard in more frames than that."""
    return sum(one.track > min_track for one in scored) / videos if videos else 0.0
