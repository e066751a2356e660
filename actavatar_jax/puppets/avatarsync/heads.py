"""Heads of puppets: a presenter speaks and does nothing else, and a square around the head is cut out.

A whole figure of 64 px has a mouth of 7 px; in a square of 0.44 of its height it has twice as many. The square scales
with the figure, so that everybody's mouth is at the same place of it. F frames, s pixels a side.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from actavatar_jax.avatarsync import Alignment, Plan, plan_speech
from actavatar_jax.media import Sound
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world.clips import PuppetClip, World, make_clip
from actavatar_jax.puppets.world.head import MOUTH_HEIGHT, MOUTH_WIDTHS
from actavatar_jax.puppets.world.identity import Identity
from actavatar_jax.puppets.world.pose import HEAD, MOUTH, Pose, place_head

HALF = 0.22  # of the square, on the figure: the chin stays in it however far the mouth opens
AROUND = 0.02  # the mouth, on the figure: it goes along with the head
SMOOTH = Image.Resampling.BILINEAR  # of Pillow: means, where pictures become smaller

# Top, bottom, left and right of the mouth in the square, as shares of its sides.
MOUTH_BOX = tuple(
    round(0.5 + place / (2 * HALF), 3)
    for place in (
        *(MOUTH - AROUND, MOUTH + MOUTH_HEIGHT + AROUND),
        *(-MOUTH_WIDTHS[1] - AROUND, MOUTH_WIDTHS[1] + AROUND),
    )
)


@dataclass(frozen=True, eq=False)
class Head:
    """The square of a clip, the clip, and the level of the units that its speech is told in."""

    frames: UInt8[np.ndarray, "F s s 3"]
    clip: PuppetClip
    level: str = "phonemes"

    @property
    def plan(self) -> Plan:
        """What AvatarSync is told of the clip's speech."""
        # The shipped weights were trained on phonemes of which neighbours of two words may be spoken as one.
        words = self.clip.words if self.level == "words" else ()
        return plan_speech(Alignment(self.clip.phonemes, words), Sound.coerce(self.clip.audio), self.level)

    @property
    def opening(self) -> Float[np.ndarray, " F"]:
        """Of the mouth, 0 to 1."""
        return self.clip.opening

    def within(self, frames: UInt8[np.ndarray, "F s s 3"]) -> UInt8[np.ndarray, "F side side 3"]:
        """Squares in the clip's first picture, in which nothing else moves."""
        left, top, right, bottom = head_box(self.clip)
        whole = np.repeat(self.clip.frames[:1], len(frames), axis=0)
        for number, frame in enumerate(frames):
            whole[number, top:bottom, left:right] = Image.fromarray(frame).resize((right - left, bottom - top), SMOOTH)
        return whole


def make_head(
    seed: int, world: World, side: int, sentence: str | None = None, voice: str | None = None, level: str = "phonemes"
) -> Head:
    """The head of the clip of a seed, `side` pixels wide. Raises as `make_clip`, which takes sentence and voice."""
    described = Identity.from_seed(seed).describe(np.random.default_rng(seed))
    clip = make_clip(seed, world, sentence=sentence, voice=voice, prompt=StructuredPrompt(described))
    return Head(cut_head(clip.frames, clip, side), clip, level)


def cut_head(
    frames: UInt8[np.ndarray, "F h w 3"], clip: PuppetClip, side: int
) -> UInt8[np.ndarray, "F {side} {side} 3"]:
    """The square of the clip's head, out of frames that are the clip's or stand for them."""
    box = head_box(clip)
    return np.stack([np.asarray(Image.fromarray(frame).resize((side, side), SMOOTH, box)) for frame in frames])


def head_box(clip: PuppetClip) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the square around the resting head, in pixels of the clip."""
    side, middle = clip.frames.shape[1], place_head(clip.identity, Pose())(HEAD)
    half, left, top = round(HALF * clip.identity.scale * side), round(middle.real * side), round(middle.imag * side)
    left, top = (min(max(place - half, 0), side - 2 * half) for place in (left, top))
    return left, top, left + 2 * half, top + 2 * half
