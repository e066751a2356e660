"""Clips of the drawn world: a presenter speaks and does what its structured prompt says, when it says so."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import write_video
from actavatar_jax.prompt import OVERHANG, Phase, StructuredPrompt
from data_pipelines.puppets.draw import Arm, Identity, Pose, draw
from data_pipelines.puppets.voice import make_voice

GRID = 0.5  # seconds: where windows begin and end
EASE = 0.35  # seconds from rest to the gesture and back, inside the window


@dataclass(frozen=True)
class Gesture:
    """Where the arms go (None: stay at rest), how far a waving forearm swings in degrees, and ways to say it."""

    wordings: tuple[str, ...]
    left: Arm | None = None
    right: Arm | None = None
    swing: float = 0.0
    finger: bool = False


def _one_armed(side: str, arm: Arm, verbs: tuple[str, ...], swing: float = 0.0) -> Gesture:
    return Gesture(tuple(verb.format(side=side) for verb in verbs), **{side: arm}, swing=swing)


_IDLE = Arm(14.0, -74.0)  # how far the arms sway from rest
_RAISED, _WAVING = Arm(140.0, -188.0), Arm(118.0, -180.0)  # forearms come up inward: the hand stays in view
_RAISES = ("Raises the {side} arm.", "Lifts the {side} hand up.", "Puts the {side} arm up.")
_WAVES = ("Waves with the {side} hand.", "Waves the {side} arm.", "Greets with a wave of the {side} hand.")
GESTURES = {
    "raise left": _one_armed("left", _RAISED, _RAISES),
    "raise right": _one_armed("right", _RAISED, _RAISES),
    "wave left": _one_armed("left", _WAVING, _WAVES, swing=24.0),
    "wave right": _one_armed("right", _WAVING, _WAVES, swing=24.0),
    "point down": Gesture(("Points down.", "Points downward with one hand."), right=Arm(100.0, 2.0), finger=True),
    "open both": Gesture(
        ("Opens both arms.", "Spreads both arms wide."), left=Arm(38.0, 142.0), right=Arm(38.0, 142.0)
    ),
}
_BASES = (
    "A presenter with {hair} hair and a {shirt} shirt speaks in front of a {wall} wall.",
    "A person in a {shirt} shirt talks to the camera. The wall is {wall}.",
    "A speaker with {hair} hair, dressed in {shirt}.",
)


@dataclass(frozen=True, eq=False)
class PuppetClip:
    """A drawn clip at 25 frames per second and 16 kHz, with what made it: useful truth for measuring."""

    frames: UInt8[np.ndarray, "F side side 3"]
    audio: Float[np.ndarray, " samples"]
    prompt: StructuredPrompt
    mouth_opening: Float[np.ndarray, " F"]  # 0 closed to 1
    arm_angle: Float[np.ndarray, "F 2"]  # degrees of the upper arms from straight down: left, right
    identity: Identity


def make_clip(seed: int, frames: int = 49, side: int = 64) -> PuppetClip:
    """The clip of a seed: the same bytes every time, and at another length the same presenter and voice."""
    identity = Identity.from_seed(seed)
    voice = make_voice(seed, frames)
    rng = np.random.default_rng([seed, 3])
    script = _script(rng, frames)
    prompt = _prompt(rng, identity, script)
    poses = _poses(rng, voice.opening, script)
    angles = np.array([(pose.left.shoulder, pose.right.shoulder) for pose in poses], np.float32)
    return PuppetClip(draw(identity, poses, side), voice.samples, prompt, voice.opening, angles, identity)


def write_clips(folder: str | Path, seeds: Iterable[int], frames: int = 49, side: int = 64) -> list[Path]:
    """Write `puppet_<seed>.mp4` with sound and its structured prompt as `.json` beside it; the videos' paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for seed in seeds:
        clip = make_clip(seed, frames, side)
        path = folder / f"puppet_{seed:06d}.mp4"
        write_video(path, clip.frames, clip.audio)
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(clip.prompt.to_dict(), indent=1) + "\n", encoding="utf-8")
        os.replace(part, path.with_suffix(".json"))
        paths.append(path)
    return paths


# ---- what happens


@dataclass(frozen=True)
class _Cue:
    """A gesture in its window of seconds."""

    start: float
    end: float
    gesture: Gesture

    def strength(self, time: float) -> float:
        """How far the gesture is taken up: eases from 0 at the window's start to 1 and back to 0 at its end."""
        ease = min(EASE, (self.end - self.start) / 3)
        ramp = min(max(min(time - self.start, self.end - time) / ease, 0.0), 1.0)
        return ramp * ramp * (3 - 2 * ramp)


def _script(rng: np.random.Generator, frames: int) -> list[_Cue]:
    """One or two different gestures in windows that do not overlap, each at least a second where the clip allows it."""
    slots = int((frames / FPS + OVERHANG) / GRID)
    count = min(slots, 1) if slots < 4 else int(rng.integers(1, 3))
    edges = [0, slots] if count < 2 else [0, int(rng.integers(2, slots - 1)), slots]
    names = rng.permutation(list(GESTURES))[:count]
    cues = []
    for name, low, high in zip(names, edges, edges[1:], strict=False):
        length = int(rng.integers(min(2, high - low), high - low + 1))
        start = int(rng.integers(low, high - length + 1))
        cues.append(_Cue(start * GRID, (start + length) * GRID, GESTURES[str(name)]))
    return cues


def _prompt(rng: np.random.Generator, identity: Identity, script: list[_Cue]) -> StructuredPrompt:
    base = str(rng.choice(_BASES))
    base = base.format(hair=identity.hair_name, shirt=identity.shirt_name, wall=identity.wall_name)
    return StructuredPrompt(
        base, tuple(Phase(cue.start, cue.end, str(rng.choice(cue.gesture.wordings))) for cue in script)
    )


def _poses(rng: np.random.Generator, opening: Float[np.ndarray, " F"], script: list[_Cue]) -> list[Pose]:
    """The pose of every frame: gestures over rest, an idle sway of head and arms, a blink every two to four seconds."""
    sway_rate, sway_start, blink_start, blink_gap = rng.uniform([0.25, 0, 0, 2], [0.45, 6.28, 2, 4])
    poses = []
    for frame, mouth in enumerate(opening):
        time = frame / FPS
        idle = np.sin(2 * np.pi * sway_rate * time + sway_start)
        pose = Pose(mouth=float(mouth), sway=float(idle), blink=bool((time + blink_start) % blink_gap < 0.12))
        pose = replace(pose, left=_toward(Arm(), _IDLE, idle), right=_toward(Arm(), _IDLE, -idle))
        for cue in script:
            pose = _gesture(pose, cue, time)
        poses.append(pose)
    return poses


def _gesture(pose: Pose, cue: _Cue, time: float) -> Pose:
    strength, gesture = cue.strength(time), cue.gesture
    swing = gesture.swing * np.sin(2 * np.pi * 2.0 * (time - cue.start))  # two swings a second
    arms = {}
    for name in ("left", "right"):
        if target := getattr(gesture, name):
            arms[name] = _toward(getattr(pose, name), replace(target, forearm=target.forearm + swing), strength)
    return replace(pose, **arms, finger=pose.finger or (gesture.finger and strength > 0.5))


def _toward(arm: Arm, target: Arm, share: float) -> Arm:
    return Arm(
        float(arm.shoulder + share * (target.shoulder - arm.shoulder)),
        float(arm.forearm + share * (target.forearm - arm.forearm)),
    )
