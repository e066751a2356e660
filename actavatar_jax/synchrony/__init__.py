"""Whether lips and sound fit: SyncNet's own measure, which filters of the data and metrics of videos share.

A file becomes scores in `measure.py`, whose parts are tracks, crops, cepstral coefficients and scores. The network that
is handed to it comes from `synchrony.syncnet`, which is apart because it alone needs JAX.
"""

from actavatar_jax.synchrony.measure import (
    LOUD,
    MIN_FACE,
    MIN_TRACK,
    Features,
    FindFaces,
    NotScored,
    Synchrony,
    score_sparsely,
    score_synchrony,
)
from actavatar_jax.synchrony.scores import SHIFT, Scores
from actavatar_jax.synchrony.tracks import link_boxes

__all__ = [
    "LOUD",
    "MIN_FACE",
    "MIN_TRACK",
    "SHIFT",
    "Features",
    "FindFaces",
    "NotScored",
    "Scores",
    "Synchrony",
    "link_boxes",
    "score_sparsely",
    "score_synchrony",
]
