"""AvatarSyncPipeline: a picture of a head and speech -> a video.

Units of the speech -> all keyframes at once -> the frames between them, streamed in order.
F frames, T keyframes, N tokens of one, h w pixels.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from actavatar_jax.avatarsync.folder import Parts, open_parts, save_parts
from actavatar_jax.avatarsync.interpolation import stream_frames
from actavatar_jax.avatarsync.keyframes import KeyframeSampling
from actavatar_jax.avatarsync.painting import KeyframePainter, compiled_interpolator, to_bytes
from actavatar_jax.avatarsync.pasting import Paste
from actavatar_jax.avatarsync.plan import Plan
from actavatar_jax.avatarsync.units import exchange_unit
from actavatar_jax.errors import InputError
from actavatar_jax.media import Video


@dataclasses.dataclass(frozen=True, eq=False)
class Draft:
    """The keyframes of a video, and what made them."""

    plan: Plan
    reference: Int[np.ndarray, " N"]  # tokens of the portrait
    tokens: Int[np.ndarray, "T N"]  # of the keyframes
    keyframes: Float32[np.ndarray, "T h w 3"]  # pixels in [0, 1]
    sampling: KeyframeSampling
    seed: int
    paste: Paste | None = None  # what frames are pasted into


@dataclasses.dataclass(frozen=True, eq=False)
class Take:
    """A video that was made, and the draft that another one like it begins with."""

    draft: Draft
    frames: UInt8[np.ndarray, "F h w 3"]

    @property
    def video(self) -> Video:
        """With the sound of its plan."""
        return Video(self.frames, self.draft.plan.sound)


class AvatarSyncPipeline:
    """A call makes a video; `draft` and `stream` are its two halves."""

    def __init__(self, parts: Parts):
        self.parts = parts
        self.painter = KeyframePainter(parts.tokenizer, parts.keyframes)
        self.interpolate = compiled_interpolator(parts.interpolator)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "AvatarSyncPipeline":
        """Of a model folder. Raises as `folder.open_parts`."""
        return cls(open_parts(folder))

    def save_pretrained(self, folder: str | Path) -> None:
        """The inverse of `from_pretrained`."""
        save_parts(folder, self.parts)

    @property
    def level(self) -> str:
        """What a keyframe is of, phonemes or words: plans have to be of the same."""
        return self.parts.keyframes.config.level

    def __call__(
        self, image: Any, plan: Plan, sampling: KeyframeSampling | None = None, seed: int = 0, paste: bool = False
    ) -> Take:
        """The video of a portrait; arguments and errors are those of `draft`."""
        draft = self.draft(image, plan, sampling, seed, paste)
        return Take(draft, np.stack([frame for _, frame in self.stream(draft)]))

    def draft(
        self, image: Any, plan: Plan, sampling: KeyframeSampling | None = None, seed: int = 0, paste: bool = False
    ) -> Draft:
        """All keyframes of a video, side by side.

        Args:
          image: path, Pillow image or uint8 [h, w, 3] of a head, as large in the picture as those that the model was
            trained on; what is beyond the centre is cut off.
          plan: of `plan_text` or `plan_speech`, with the model's `level`.
          sampling: how tokens are drawn; None: as the folder has it.
          seed: of what chance decides.
          paste: whether frames show the portrait's own pixels wherever nothing changes (`pasting`).

        Raises:
          InputError: a plan of another level, and as `load_image`.
        """
        if plan.level != self.level:
            raise InputError(f"The plan has units of {plan.level}; accepted by this model are units of {self.level}.")
        reference, sampling = self.painter.read_portrait(image), sampling or self.parts.sampling
        tokens = self.painter.draw(reference, plan.schedule.ids, sampling, seed)
        into = self.painter.paste(image, reference) if paste else None
        return Draft(plan, reference, tokens, self.painter.show(tokens), sampling, seed, into)

    def stream(
        self, draft: Draft, wanted: Bool[np.ndarray, " F"] | None = None
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
        """Numbers and pictures of a draft's frames in order, each as soon as it is there; None: all of them."""
        for number, frame in stream_frames(draft.keyframes, draft.plan.schedule, self.interpolate, wanted=wanted):
            yield number, to_bytes(frame if draft.paste is None else draft.paste(frame))

    def edit(self, take: Take, unit: int, name: str) -> Take:
        """The same video with another sound in the place of one unit.

        Computed again are the keyframes that see the unit, which with the mask `one_to_one` are its own, and the
        intervals beside them; all other frames are the take's, bit for bit.

        Args:
          take: of a call.
          unit: its number in the plan's `units`.
          name: of the unit that is said instead.

        Raises:
          InputError: a unit that no keyframe shows, or a name that is no unit's.
        """
        old = take.draft
        before, after = old.plan.schedule, exchange_unit(old.plan.schedule, unit, name, self.level)
        seen, now = (self.painter.seen(plan.ids) for plan in (before, after))
        renewed = np.flatnonzero(np.asarray((now.there & (now.ids != seen.ids))[0].any(-1)))
        tokens, keyframes = old.tokens.copy(), old.keyframes.copy()
        if len(renewed):
            tokens[renewed] = self.painter.draw(old.reference, after.ids, old.sampling, old.seed, renewed)
            keyframes[renewed] = self.painter.show(tokens[renewed])
        touched = np.isin(after.left, renewed) | (np.isin(after.right, renewed) & (after.t > 0))
        touched |= after.t != before.t  # a pause, in which lips are held, came or went
        plan = dataclasses.replace(old.plan, schedule=after)
        new, frames = dataclasses.replace(old, plan=plan, tokens=tokens, keyframes=keyframes), take.frames.copy()
        for number, frame in self.stream(new, touched):
            frames[number] = frame
        return Take(new, frames)
