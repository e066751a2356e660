"""Motion scores of puppets whose joints are known: hands that are told to do something, and the same puppets at rest.

    python -m tests.data.puppet_motion [--clips 48]

Keypoints are the puppets' own, so that no landmark model is needed: what is looked at is the score and its threshold.
"""

import argparse
import cmath
import math

import numpy as np
from jaxtyping import Float

from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world.clips import PuppetClip, World, make_clip
from actavatar_jax.puppets.world.pose import HAND, JOINTS, SIDES, Arm, Pose, arm_points, place_body
from data_pipelines.filters.gestures import HANDS, NOSE, SHOULDERS, measure_gestures
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet

WORLD = World(side=16, frames=125)
STILL = ("nod", "shake_head", "tilt_head", "lean_left", "lean_right")  # actions without hands
FINGERS = ((58, 0.05), (14, 0.066), (-6, 0.072), (-26, 0.066), (-46, 0.056))  # degrees from the forearm's direction


def main(clips: int) -> None:
    (rule,) = (rule for rule in RuleSet.load(DEFAULT_RULES / "stage2.yaml").rules if rule.column == "motion.score")
    acting, resting = [], []
    for seed in range(clips):
        clip = make_clip(seed, WORLD)
        if any(cue.action not in STILL for cue in clip.cues):
            acting.append(score(clip))
        resting.append(score(make_clip(seed, WORLD, prompt=StructuredPrompt("A person speaks."))))
    for name, values in (("hands act", acting), ("hands rest", resting)):
        shares = ", ".join(f"{np.quantile(values, part):.2f}" for part in (0, 0.05, 0.5, 0.95, 1))
        passing = np.mean([rule.holds(value) for value in values])
        print(f"{name}: {len(values)} clips, 0/5/50/95/100 %: {shares}; {passing:.0%} {rule.test} {rule.value}")


def score(clip: PuppetClip) -> float:
    return measure_gestures(keypoints(clip), 1000, 1000, FPS)["score"]


def keypoints(clip: PuppetClip) -> Float[np.ndarray, "F 133 3"]:
    """The puppet's shoulders, nose, wrists and finger tips in a picture of 1000 pixels; nothing else is known."""
    points = np.zeros((len(clip.joints), 133, 3))
    for frame, values in enumerate(clip.joints):
        joint = dict(zip(JOINTS, values.tolist(), strict=True))
        arms = {side: Arm(*(joint[f"{side}_{part}"] for part in ("shoulder", "elbow", "fingers"))) for side in SIDES}
        pose = Pose(lean=joint["lean"], shrug=joint["shrug"], **arms)
        found = {NOSE: complex(joint["mouth_x"], joint["mouth_y"])}
        for side, shoulder, hand in zip(("left", "right"), SHOULDERS, HANDS, strict=True):
            root, elbow, palm = arm_points(clip.identity, pose, side)
            along = (palm - elbow) / abs(palm - elbow)
            tips = [
                palm + along * cmath.rect(0.7 * HAND + length, -SIDES[side] * math.radians(degrees))
                for degrees, length in FINGERS
            ]
            placed = map(place_body(clip.identity, pose), [root, palm - 0.7 * HAND * along, *tips])
            found |= dict(zip([shoulder, *hand], placed, strict=True))
        for index, place in found.items():
            points[frame, index] = 1000 * place.real, 1000 * place.imag, 1.0
    return points


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clips", type=int, default=48)
    main(**vars(options.parse_args()))
