"""Puppet clips as examples for the judge: pictures at its size, and what is true of each frame."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float

from actavatar_jax.evaluation.scores import Judgement, Report, Truth, score_clips
from actavatar_jax.media.clock import FPS
from actavatar_jax.puppets.dataset import draw
from actavatar_jax.puppets.judge.network import resized
from actavatar_jax.puppets.judge.training import Example
from actavatar_jax.puppets.world.actions import ACTIONS
from actavatar_jax.puppets.world.clips import Cue, PuppetClip, World
from actavatar_jax.puppets.world.pose import JOINTS

JUDGE_SEEDS = range(3_000_000_000, 4_000_000_000)  # clips for training judges: no other clip has these seeds
SOFT = 0.08  # seconds before and after a window's edge over which its action's share goes from 0 to 1
HANDS = [JOINTS.index(f"{side}_hand_{axis}") for side in ("left", "right") for axis in "xy"]


def puppet_examples(world: World, seeds: Iterable[int] = JUDGE_SEEDS) -> Iterator[Example]:
    """Examples of the clips of `seeds`, drawn in other processes."""
    return (example_of(clip) for clip in draw(world, seeds))


def example_of(clip: PuppetClip) -> Example:
    """The clip at the judge's size, with its truth."""
    return Example(
        np.round(resized(clip.frames)).astype(np.uint8),
        action_shares(clip.cues, tuple(ACTIONS), len(clip.frames)),
        np.stack([clip.opening, clip.width], axis=1).astype(np.float32),
        clip.joints[:, HANDS].reshape(-1, 2, 2).astype(np.float32),
    )


def action_shares(cues: Iterable[Cue], names: tuple[str, ...], frames: int) -> Float[np.ndarray, "F K"]:
    """Shares of no action and of each named one. At a window's edge the action has one half.

    Gestures ease in from the edge on, so that what is seen there is less; but the frames around tell where it began.
    """
    seconds = np.arange(frames) / FPS
    shares = np.zeros((frames, 1 + len(names)), np.float32)
    for cue in cues:
        within = np.minimum(seconds - cue.start, cue.end - seconds)
        shares[:, 1 + names.index(cue.action)] = np.clip(within / (2 * SOFT) + 0.5, 0, 1)
    shares[:, 0] = np.clip(1 - shares[:, 1:].sum(axis=1), 0, 1)
    return shares / shares.sum(axis=1, keepdims=True)


def controls(judge: Callable[[np.ndarray], Judgement], clips: Sequence[PuppetClip]) -> dict[str, Report]:
    """What the judge says of clips as drawn, frozen at their first frame, reversed, and with the sound 3 frames early.

    A judge is sound if it scores them near 1, near 0, clearly lower, and as drawn but at a lag of 3.
    """

    def report(frames_of: Callable, opening_of: Callable = lambda clip: clip.opening) -> Report:
        truths = [Truth(clip.cues, opening_of(clip)) for clip in clips]
        return score_clips([judge(frames_of(clip)) for clip in clips], truths)

    return {
        "as drawn": report(lambda clip: clip.frames),
        "frozen": report(lambda clip: np.repeat(clip.frames[:1], len(clip.frames), axis=0)),
        "reversed": report(lambda clip: clip.frames[::-1]),
        "sound 3 frames early": report(lambda clip: clip.frames, lambda clip: early(clip.opening, 3)),
    }


def early(opening: Float[np.ndarray, " F"], frames: int) -> Float[np.ndarray, " F"]:
    """The mouth of speech that comes `frames` frames earlier; closed where it has ended."""
    return np.concatenate([opening[frames:], np.zeros(frames, opening.dtype)])
