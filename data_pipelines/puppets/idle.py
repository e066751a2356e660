"""What a presenter does without being told: breathing, swaying, looking about, blinking, and speaking."""

import math

import numpy as np
from jaxtyping import Float

from actavatar_jax.media.clock import FPS
from data_pipelines.puppets.pose import Arm, Pose

BLINK = 0.2  # seconds
LONGEST = 60.0  # seconds for which blinks and glances are planned


def idle_poses(
    rng: np.random.Generator, opening: Float[np.ndarray, " F"], width: Float[np.ndarray, " F"]
) -> list[Pose]:
    """A pose for every frame: arms at rest, the mouth as given, everything else in small natural motion."""
    rates, phases = rng.uniform(0.15, 0.5, 7), rng.uniform(0, 2 * math.pi, 7)
    blinks = np.cumsum(rng.uniform(1.2, 3.2, int(LONGEST / 1.2)))
    glances = np.cumsum(rng.uniform(0.5, 1.6, int(LONGEST / 0.5)))
    looks = rng.choice([0.0, 0.0, -0.6, 0.6], len(glances) + 1)
    poses = []
    for frame, (mouth, spread) in enumerate(zip(opening, width, strict=True)):
        time = frame / FPS
        lean, tilt, nod, turn, breath, arms, brows = np.sin(2 * np.pi * rates * time + phases).tolist()
        poses.append(
            Pose(
                mouth_opening=float(mouth),
                mouth_width=float(spread),
                brows=0.25 * brows + 0.25 * float(mouth),
                blink=float(np.clip(1.6 - np.abs(time - blinks).min() / (BLINK / 3.2), 0, 1)),
                gaze=float(looks[np.searchsorted(glances, time)]),
                head_tilt=0.1 * tilt,
                head_nod=0.08 * nod,
                head_turn=0.1 * turn,
                lean=0.06 * lean,
                shrug=0.04 + 0.04 * breath,
                left=Arm(14.0 + 2 * arms, -18.0),
                right=Arm(14.0 - 2 * arms, -18.0),
            )
        )
    return poses
