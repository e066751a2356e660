"""What a presenter does without being asked: breathing, swaying, nodding, looking about, blinking, and speaking.

Told: all of it follows from the speech and the presenter's looks, as people nod on stressed syllables and blink and
look away in pauses, so that a first frame, a sound and a prompt tell the whole picture. Random: everybody moves at
rates of their own, which no condition tells; a model can only guess it.
"""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from actavatar_jax.media.clock import FPS
from actavatar_jax.puppets.speech import Visemes, is_open_vowel, is_stressed
from actavatar_jax.puppets.world.identity import Identity, Number
from actavatar_jax.puppets.world.pose import Arm, Pose
from actavatar_jax.speech import PAUSE, Phoneme

BLINK = 0.2  # seconds
LONGEST = 60.0  # seconds for which random blinks and glances are planned
BEAT, SWAY = 0.08, 0.35  # seconds: half the length of a nod on a stressed syllable, and how slowly the body follows
REST = 0.25  # seconds of a pause from which on the presenter looks away
LIVELINESS = {"slim": 1.25, "average": 1.0, "broad": 0.75}  # of a build


def told_poses(identity: Identity, phonemes: Iterable[Phoneme], mouth: Visemes) -> list[Pose]:
    """A pose for every frame of `mouth`, from what is said and who says it alone."""
    phonemes, frames = tuple(phonemes), len(mouth.opening)
    times = np.arange(frames) / FPS
    stresses = [phoneme for phoneme in phonemes if is_stressed(phoneme.symbol)]
    pauses = [phoneme for phoneme in phonemes if phoneme.symbol == PAUSE]
    blinks = [p.start for p in pauses if p.start > 0] + [p.end for p in stresses if is_open_vowel(p.symbol)]

    beat = _bumps(times, [(phoneme.start + phoneme.end) / 2 for phoneme in stresses], BEAT)
    silent = sum(((times >= p.start) & (times < p.end) for p in pauses), np.zeros(frames))
    away = sum(((times >= p.start) & (times < p.end) for p in pauses if p.end - p.start >= REST), np.zeros(frames))
    spread, voice = (_smoothed(curve, SWAY) for curve in (mouth.width - 0.5, mouth.opening))
    side = 1 if identity.hair_style in ("short", "curly", "spiky") else -1
    lively = LIVELINESS[identity.build]
    return [
        _pose(
            float(mouth.opening[k]),
            float(mouth.width[k]),
            brows=0.6 * beat[k],
            blink=_closing(times[k], blinks),
            gaze=0.6 * side * away[k],
            head_tilt=0.9 * lively * side * spread[k],
            head_nod=0.16 * lively * beat[k] - 0.1 * voice[k],
            head_turn=0.5 * lively * side * (voice[k] - 0.3),
            lean=0.5 * lively * side * spread[k],
            breath=2 * silent[k] - 1,
            arms=4 * lively * spread[k],
        )
        for k in range(frames)
    ]


def random_poses(rng: np.random.Generator, mouth: Visemes) -> list[Pose]:
    """A pose for every frame of `mouth`: in small natural motion of which only the mouth follows the speech."""
    rates, phases = rng.uniform(0.15, 0.5, 7), rng.uniform(0, 2 * math.pi, 7)
    blinks = np.cumsum(rng.uniform(1.2, 3.2, int(LONGEST / 1.2)))
    glances = np.cumsum(rng.uniform(0.5, 1.6, int(LONGEST / 0.5)))
    looks = rng.choice([0.0, 0.0, -0.6, 0.6], len(glances) + 1)
    poses = []
    for frame, (opening, width) in enumerate(zip(mouth.opening, mouth.width, strict=True)):
        time = frame / FPS
        lean, tilt, nod, turn, breath, arms, brows = np.sin(2 * np.pi * rates * time + phases).tolist()
        poses.append(
            _pose(
                float(opening),
                float(width),
                brows=0.25 * brows,
                blink=_closing(time, blinks),
                gaze=float(looks[np.searchsorted(glances, time)]),
                head_tilt=0.1 * tilt,
                head_nod=0.08 * nod,
                head_turn=0.1 * turn,
                lean=0.06 * lean,
                breath=breath,
                arms=2 * arms,
            )
        )
    return poses


# ---- parts


def _pose(opening: float, width: float, *, brows: Number, breath: Number, arms: Number, **parts: Number) -> Pose:
    """Arms at rest, `arms` degrees to the presenter's left; brows also rise with the voice; breath is -1 to 1."""
    return Pose(
        mouth_opening=opening,
        mouth_width=width,
        brows=brows + 0.25 * opening,
        shrug=0.04 + 0.04 * breath,
        left=Arm(14.0 + arms, -18.0),
        right=Arm(14.0 - arms, -18.0),
        **parts,
    )


def _closing(time: Number, blinks: Iterable[Number]) -> float:
    """How far the eyes are shut."""
    nearest = min((abs(time - blink) for blink in blinks), default=math.inf)
    return float(np.clip(1.6 - nearest / (BLINK / 3.2), 0, 1))


def _bumps(times: Float[np.ndarray, " F"], centres: Iterable[Number], width: Number) -> Float[np.ndarray, " F"]:
    """1 at every centre, falling off over `width` seconds."""
    bumps = [np.exp(-(((times - centre) / width) ** 2) / 2) for centre in centres]
    return np.max(bumps, axis=0) if bumps else np.zeros(len(times))


def _smoothed(curve: Float[np.ndarray, " F"], seconds: Number) -> Float[np.ndarray, " F"]:
    """The mean around every frame under a Gaussian of that deviation, of what of it lies within the clip."""
    apart = (np.arange(len(curve))[:, None] - np.arange(len(curve))[None, :]) / FPS
    near = np.exp(-((apart / seconds) ** 2) / 2)
    return near @ curve / near.sum(axis=1)
