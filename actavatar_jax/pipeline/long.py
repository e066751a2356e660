"""Videos longer than a model makes at once: in parts, each of which goes on from the last frames of the one before.

h w height and width in pixels, n frames that a part knows, m frames that it adds.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from actavatar_jax.checks import Limit, check_fields, whole
from actavatar_jax.diffusion import OPTIONS, Sampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound, Video, load_sound
from actavatar_jax.media.clock import FPS
from actavatar_jax.pipeline.request import Excerpt
from actavatar_jax.prompt import StructuredPrompt

CONTEXT = 1  # second of speech that is heard before a part and after it
LONGEST = 24 * 3600  # seconds
MOST_PHASES = 10_000  # of all parts together


@typing.no_type_check  # it does so itself, in sentences
@dataclasses.dataclass(frozen=True)
class LongVideo:
    """How long a video is, and how its parts go together."""

    seconds: float | None = None  # None: as long as the recording
    overlap: int = 1  # latent frames that a part knows of the one before: 1 is its last frame, k its last 4k - 3
    hold_colours: bool = False  # whether parts are given the mean and deviation of the first one's colours

    LIMITS: typing.ClassVar[dict[str, Limit]] = {
        "seconds": Limit(f"a number above 0 and at most {LONGEST}", lambda x: x is None or 0 < x <= LONGEST),
        "overlap": whole(1, 100),
    }

    def __post_init__(self):
        check_fields(self, "option ", **self.LIMITS)

    @property
    def known(self) -> int:
        """Frames that a part knows of the one before."""
        return 4 * self.overlap - 3

    def frames(self, speech: Sound | None, rate: int = FPS) -> int:
        """Of the whole video, any number from 1 on; `speech` may be None where seconds are given."""
        seconds = len(speech.samples) / speech.rate if self.seconds is None else self.seconds
        return max(1, round(seconds * rate))


def prompt_of_long(prompt: Any, frames: int, rate: int = FPS) -> StructuredPrompt:
    """The checked prompt of a video of so many frames; each of its parts may have as many phases as a short one."""
    return StructuredPrompt.for_clip(prompt, frames / rate, MOST_PHASES)


@dataclasses.dataclass(frozen=True)
class Part:
    """Frames `begin` to `begin` + length of a video, of which the first `known` are there already."""

    number: int
    begin: int
    known: int
    added: int  # frames of it that are kept

    @property
    def end(self) -> int:
        """Frames of the video that there are after it."""
        return self.begin + self.known + self.added

    def seed(self, seed: int) -> int:
        """Of its noise; the first part has that of a short video."""
        drawn = np.random.SeedSequence([seed, self.number]).generate_state(1, np.uint64)
        return int(drawn[0]) if self.number else seed


def cut_parts(frames: int, length: int, known: int, prompt: StructuredPrompt, rate: int = FPS) -> list[Part]:
    """The parts of a video of `frames` frames, of `length` each, of which as many are kept as spares the actions.

    A border inside a window would cut an action in two, so a part ends earlier, by at most half of what it adds, where
    that helps. InputError where a part would add nothing.
    """
    if known >= length:
        raise InputError(f"Parts of {length} frames cannot know {known} of them; take a smaller overlap.")
    parts = []
    while (done := parts[-1].end if parts else 0) < frames:
        before = known if parts else 0
        most = length - before
        added = frames - done if frames - done <= most else _choose_added(done, most, known, prompt, rate)
        parts.append(Part(len(parts), done - before, before, added))
    return parts


def _choose_added(done: int, most: int, least: int, prompt: StructuredPrompt, rate: int) -> int:
    """How many frames to add to those that are done: from `least` on, which the next part has to know."""
    for added in range(most, max(most // 2, least - 1), -1):
        border = (done + added) / rate
        if not any(phase.start < border < phase.end for phase in prompt.phases):
            return added
    return most


def cut_prompt(prompt: StructuredPrompt, parts: Sequence[Part], length: int, rate: int = FPS) -> list[StructuredPrompt]:
    """What happens in each part of `length` frames; InputError where that is more than a model takes at once."""
    prompts = [prompt.window(part.begin / rate, (part.begin + length) / rate) for part in parts]
    for one in prompts:
        one.check(length / rate)
    return prompts


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """What the next part has to know of those that are made."""

    frames: UInt8[np.ndarray, "n h w 3"]  # the last ones
    colours: Float[np.ndarray, "2 3"]  # mean and deviation over the first part


def make_parts(
    pipeline: Any,
    image: Any,
    speech: Sound,
    prompt: StructuredPrompt,
    long: LongVideo,
    *,
    made: int = 0,
    tail: Tail | None = None,
    **options: Any,
) -> Iterator[tuple[Part, UInt8[np.ndarray, "m h w 3"], Tail]]:
    """The parts of a video from number `made` on, with `tail` of those before: each with the frames that it adds.

    `pipeline` is an `ActAvatarPipeline`, `options` are those of its call; `num_frames` is the length of a part.
    """
    sampling = sampling_of(pipeline, options)
    length, rate = sampling.num_frames or pipeline.defaults.num_frames, sampling.rate
    parts = cut_parts(long.frames(speech, rate), length, long.known, prompt, rate)
    prompts = cut_prompt(prompt, parts, length, rate)
    for part in parts[made:]:
        own = {**options, "seed": part.seed(sampling.seed)}
        if tail is not None:
            own |= {"height": tail.frames.shape[1], "width": tail.frames.shape[2], "anyway": True}
        excerpt = Excerpt(speech, part.begin, CONTEXT * rate, rate)
        frames = pipeline(image if tail is None else tail.frames, excerpt, prompts[part.number], **own).frames
        if tail is not None and long.hold_colours:
            frames = hold_colours(frames, tail.colours)
        frames = frames[part.known :][: part.added]
        before = frames if tail is None else np.concatenate([tail.frames, frames])
        tail = Tail(before[-long.known :], measure_colours(frames) if tail is None else tail.colours)
        yield part, frames, tail


def measure_colours(frames: UInt8[np.ndarray, "m h w 3"]) -> Float[np.ndarray, "2 3"]:
    """Mean and deviation of each colour."""
    sums = [(np.sum(frame, (0, 1), np.float64), np.sum(np.square(frame, dtype=np.float64), (0, 1))) for frame in frames]
    mean, square = np.sum(sums, axis=0) / (frames.size // 3)
    return np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0))])


def hold_colours(
    frames: UInt8[np.ndarray, "m h w 3"], colours: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "m h w 3"]:
    """The frames with the mean and deviation of each colour that `colours` has."""
    mean, deviation = measure_colours(frames)
    scale = colours[1] / np.maximum(deviation, 1)
    levels = np.arange(256)[:, None]
    table = np.clip(np.rint((levels - mean) * scale + colours[0]), 0, 255).astype(np.uint8)
    return np.stack([table[..., c][frames[..., c]] for c in range(3)], axis=-1)


def make_long(pipeline: Any, image: Any, audio: Any, prompt: Any, long: LongVideo, **options: Any) -> Iterator[Video]:
    """`make_parts` as videos with their sound, which follow each other without a gap."""
    speech, rate = load_sound(audio), sampling_of(pipeline, options).rate
    prompt = prompt_of_long(prompt, long.frames(speech, rate), rate)
    for part, frames, _ in make_parts(pipeline, image, speech, prompt, long, **options):
        yield Video(frames, Excerpt(speech, part.begin + part.known, fps=rate).cut(0, len(frames)), rate)


def sampling_of(pipeline: Any, options: Mapping[str, Any]) -> Sampling:
    """How an `ActAvatarPipeline` samples that is called with these options."""
    changes = {name: value for name, value in options.items() if name in OPTIONS}
    return pipeline.choose_sampling(options.get("sampling"), changes)
