"""How lips, head, brows and hands of a person move, from whole-body keypoints and the sound: definitions of our own.

Points are those of COCO-WholeBody (`keypoints`), 25 frames a second. F frames. A frame shows the face if all points
used below are found with a confidence of at least `CONFIDENT`; the unit of length D is the median distance of the two
eyes' middles over these frames. Differences are of neighbouring frames that both show the face.

lips      standard deviation of o / D, where o is the mean opening of three pairs of inner lip points
head      mean of 25 * sqrt(|dq|^2 + (dr / 2)^2): q is the nose as seen from between the eyes, along and across their
          line, in D; r is the angle of that line, so that dr / 2 is the way of an eye around the middle, in D
brows     standard deviation of b / D, where b is the distance of a brow's middle from its eye's, mean of both
silent    mean of 25 * |do| / D over the differences whose two frames are silent
hkc       mean confidence of the 42 points of hands over all frames
hkv       mean over these points of their variance (of x, and of y) over the frames in which they are found, in D^2
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from actavatar_jax.errors import Skip
from actavatar_jax.keypoints import CONFIDENT
from actavatar_jax.media import FPS
from actavatar_jax.media.clock import SAMPLES_PER_FRAME
from actavatar_jax.synchrony import LOUD

SILENT = 0.02  # of the loudness of a clip's loud frames (34 dB below), under which a frame is silent
FEWEST = 2  # frames that show the face, for anything to move

FACE = 23  # of the first of the 68 points, which go on as iBUG counts them
BROWS = FACE + np.array([range(17, 22), range(22, 27)])
NOSE = FACE + 30  # its tip
EYES = FACE + np.array([range(36, 42), range(42, 48)])
UPPER, LOWER = FACE + np.array([61, 62, 63]), FACE + np.array([67, 66, 65])  # inner lips, one above the other
USED = np.concatenate([BROWS.ravel(), [NOSE], EYES.ravel(), UPPER, LOWER])
HANDS = slice(91, 133)

Keypoints = Float[np.ndarray, "F 133 3"]


@dataclass(frozen=True)
class Dynamics:
    """See the module. coverage: share of the frames that show the face; hands: share of the points of hands that are
    found; silence: share of the differences that are silent. None where nothing could be measured."""

    lips: float
    head: float | None
    brows: float
    silent: float | None
    hkc: float
    hkv: float | None
    coverage: float
    hands: float
    silence: float


def measure_dynamics(keypoints: Keypoints, quiet: Bool[np.ndarray, " F"]) -> Dynamics:
    """From x, y in pixels and confidence, and which frames are silent.

    Raises:
      Skip: fewer than two frames show the face.
    """
    points, found = keypoints[..., :2].astype(float), keypoints[..., 2] >= CONFIDENT
    eyes = points[:, EYES].mean(2)
    line = eyes[:, 1] - eyes[:, 0]
    shown = found[:, USED].all(1) & (np.linalg.norm(line, axis=1) > 0)
    if shown.sum() < FEWEST:
        raise Skip("no face", f"{shown.sum()} frames show eyes, brows, nose and lips; {FEWEST} are needed")
    unit = float(np.median(np.linalg.norm(line[shown], axis=1)))
    opening = np.linalg.norm(points[:, LOWER] - points[:, UPPER], axis=-1).mean(1) / unit
    brows = np.linalg.norm(points[:, BROWS].mean(2) - eyes, axis=-1).mean(1) / unit
    pairs = shown[1:] & shown[:-1]
    silent = pairs & quiet[1:] & quiet[:-1]
    return Dynamics(
        lips=float(opening[shown].std()),
        head=_mean(_head_speed(points[:, NOSE], eyes, unit)[pairs]),
        brows=float(brows[shown].std()),
        silent=_mean(FPS * np.abs(np.diff(opening))[silent]),
        hkc=float(keypoints[:, HANDS, 2].mean()),
        hkv=_hand_variance(points[:, HANDS] / unit, found[:, HANDS]),
        coverage=float(shown.mean()),
        hands=float(found[:, HANDS].mean()),
        silence=float(silent.mean()),
    )


def quiet_frames(samples: Float[np.ndarray, " N"] | None, frames: int) -> Bool[np.ndarray, " frames"]:
    """Which frames are silent: by the root of the mean square of their samples (at 16 kHz, of 1).

    Silent is what is below `SILENT` of the 95th percentile of all frames, or below `LOUD`; so is what lies behind the
    end of the sound. Without any sound no frame is, since nobody can tell when lips should rest.
    """
    if samples is None or not len(samples):
        return np.zeros(frames, bool)
    padded = np.zeros(frames * SAMPLES_PER_FRAME)
    padded[: len(samples)] = samples[: len(padded)]
    levels = np.sqrt((padded.reshape(frames, SAMPLES_PER_FRAME) ** 2).mean(1))
    return levels < max(SILENT * np.percentile(levels, 95), LOUD)


def _head_speed(
    nose: Float[np.ndarray, "F 2"], eyes: Float[np.ndarray, "F 2 2"], unit: float
) -> Float[np.ndarray, "F-1"]:
    """In D a second; points are x + iy."""
    nose, left, right = (place[:, 0] + 1j * place[:, 1] for place in (nose, eyes[:, 0], eyes[:, 1]))
    turn = np.angle(right - left)
    seen = (nose - (left + right) / 2) * np.exp(-1j * turn) / unit
    rolled = np.angle(np.exp(1j * np.diff(turn)))  # the shorter way round
    return FPS * np.hypot(np.abs(np.diff(seen)), rolled / 2)


def _hand_variance(points: Float[np.ndarray, "F 42 2"], found: Bool[np.ndarray, "F 42"]) -> float | None:
    variances = [
        points[there, number].var(axis=0).mean() for number, there in enumerate(found.T) if there.sum() >= FEWEST
    ]
    return _mean(np.array(variances))


def _mean(values: Float[np.ndarray, " n"]) -> float | None:
    return float(values.mean()) if len(values) else None
