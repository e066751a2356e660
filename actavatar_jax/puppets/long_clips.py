"""What becomes of lips, windows, looks and borders where a puppet video is made in parts.

F frames, P parts.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8
from tqdm import tqdm

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.scores import Report, Truth, score_clips
from actavatar_jax.media.clock import FPS
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.judge.network import load_judge
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.clips import PuppetClip, World, find_prompt, make_clip
from actavatar_jax.puppets.world.script import Cue, make_prompt

SHORTEST, LONGEST = 1.0, 2.5  # seconds of an action


@dataclass(frozen=True, eq=False)
class LongScores:
    """Of several long videos: the usual figures, what happens at borders, and the looks of each part."""

    report: Report
    border: tuple[float, float]  # mean change of a pixel, in levels, at borders of parts: made, and as drawn there
    inside: tuple[float, float]  # and elsewhere
    drift: Float[np.ndarray, " P"]  # 1 - cosine of a part's mean appearance with that of the first part

    def table(self) -> str:
        made, drawn = zip(self.border, self.inside, strict=True)
        parts = " ".join(f"{value:.3f}" for value in self.drift)
        return (
            f"{self.report.table()}\n\n"
            f"change from frame to frame, levels, at borders and inside parts: {made[0]:.2f} and {made[1]:.2f}, "
            f"as drawn {drawn[0]:.2f} and {drawn[1]:.2f}\n"
            f"appearance of parts against the first: {parts}"
        )


def score_long(
    pipeline: ActAvatarPipeline, world: World, seeds: Iterable[int], seconds: float, phases: int, **options: int | bool
) -> LongScores:
    """Makes a video of so many seconds, with so many phases, for each seed; `options` are those of `make_long`."""
    judge, judged, truths, changes, drifts = load_judge(), [], [], [], []
    for seed in tqdm(list(seeds), "sampling", unit="video"):
        clip = make_long_clip(seed, world, seconds, phases)
        videos = pipeline.make_long(clip.frames[0], clip.audio, clip.prompt, len(clip.frames) / FPS, **options)
        parts = [video.frames for video in videos]
        frames, borders = np.concatenate(parts), np.cumsum([len(part) for part in parts])[:-1].tolist()
        judged.append(judge(frames))
        truths.append(Truth(clip.cues, clip.opening))
        changes.append([changes_at(one, borders) for one in (frames, clip.frames)])
        drifts.append(drift_of_parts(judged[-1].embeddings, borders))
    if not judged:
        raise InputError("There are no seeds; give one for each long video.")
    border, inside = np.mean(changes, axis=0).T
    fewest = min(map(len, drifts))
    drift = np.mean([one[:fewest] for one in drifts], axis=0)
    return LongScores(score_clips(judged, truths), tuple(border), tuple(inside), drift)


def make_long_clip(seed: int, world: World, seconds: float, phases: int) -> PuppetClip:
    """The presenter and voice of a seed in a longer clip: different actions, each in its own part of the time."""
    if not 1 <= phases <= len(ACTIONS) or seconds < LONGEST * phases:
        raise InputError(
            f"{phases} phases do not go into {seconds:g} s; accepted are 1 to {len(ACTIONS)}, of {LONGEST:g} s each."
        )
    rng, slot = np.random.default_rng([seed, 7]), seconds / phases
    cues = []
    for k, name in enumerate(rng.permutation(list(ACTIONS))[:phases]):
        length = round(float(rng.uniform(SHORTEST, LONGEST)), 1)
        start = round(float(k * slot + rng.uniform(0, slot - length)), 1)
        cues.append(Cue(start, round(start + length, 1), str(name)))
    long = replace(world, frames=round(seconds * FPS))
    base = find_prompt(seed, world).base
    return make_clip(seed, long, prompt=make_prompt(rng, base, tuple(cues)))


def changes_at(frames: UInt8[np.ndarray, "F h w 3"], borders: Sequence[int]) -> tuple[float, float]:
    """Mean change of a pixel from the frame before, in levels: at `borders`, and at all other frames."""
    change = np.array([np.abs(b.astype(np.int16) - a).mean() for a, b in itertools.pairwise(frames)])
    at = np.zeros(len(change), bool)
    at[np.asarray(borders, int) - 1] = True
    return float(change[at].mean()) if at.any() else 0.0, float(change[~at].mean())


def drift_of_parts(embeddings: Float[np.ndarray, "F E"], borders: Sequence[int]) -> Float[np.ndarray, " P"]:
    means = np.stack([part.mean(axis=0) for part in np.split(embeddings, borders)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return 1 - means @ means[0]
