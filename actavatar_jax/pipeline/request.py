"""What videos are asked for, fitted to a model and checked before anything long is computed.

T latent frames, K clean ones, H W latent height and width, C latent channels, h w height and width in pixels, known
frames with which a video begins.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from actavatar_jax.diffusion import Guidance, Sampling, check_sigmas, evaluations, keep_levels, sigma_grid
from actavatar_jax.diffusion.guidance import guidance as make_guidance
from actavatar_jax.encoders import Encoders
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound, choose_size, fit_image, load_image, load_sound
from actavatar_jax.media.clock import FPS, SAMPLE_RATE, latent_frames
from actavatar_jax.weights import Defaults

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """All that videos of one portrait and one recording have in common."""

    start: UInt8[np.ndarray, "known h w 3"]  # the portrait, or what a video goes on from
    speech: "Excerpt"
    num_frames: int
    rate: int  # frames a second
    grid: tuple[int, int, int]  # (T, H, W)
    guidance: Guidance
    solver: str
    sigmas: Float[np.ndarray, " n"]
    negative_prompt: str

    @property
    def picture(self) -> UInt8[np.ndarray, "h w 3"]:
        """The first frame."""
        return self.start[0]

    @property
    def sound(self) -> Sound:
        """As long as the video."""
        return self.speech.cut(0, self.num_frames)


@dataclasses.dataclass(frozen=True, eq=False)
class Excerpt:
    """The sound of a video that is a part of a longer recording, which an encoder hears in its context."""

    recording: Sound
    begin: int = 0  # frame of the recording with which the video begins
    context: int = 0  # frames that are heard before and after, where there are any before
    fps: int = FPS  # of all these frames

    def cut(self, first: int, last: int) -> Sound:
        """From frame `first` of the video to before frame `last`, with silence behind the recording's end."""
        samples, rate = self.recording.samples, self.recording.rate
        edges = [(self.begin + frame) * rate // self.fps for frame in (first, last)]
        part = samples[slice(*edges)]
        return Sound(np.pad(part, ((0, edges[1] - edges[0] - len(part)), (0, 0))), rate)

    def encode(self, encoders: Encoders, num_frames: int) -> Float32[np.ndarray, "{num_frames} layers E"]:
        """Features of the video's frames."""
        before = min(self.context, self.begin)
        heard = before + num_frames + self.context
        wanted = heard * SAMPLE_RATE // self.fps
        samples = self.cut(-before, num_frames + self.context).to_audio()[:wanted]
        samples = np.pad(samples, (0, wanted - len(samples)))  # a 16th of a second is no whole samples of 11,025 Hz
        return encoders.audio(samples, heard, self.fps)[before : before + num_frames]


def fit_request(
    image: Any,
    audio: Any,
    s: Sampling,
    sigmas: Any,
    *,
    defaults: Defaults,
    rate: int,
    stride: int,
    patch: int,
) -> Request:
    """A portrait and a recording as a model takes them, before anything is encoded; InputError for what does not fit.

    `sigmas`, if given, are in the place of the solver's own. `rate` is of the videos, in frames a second; `stride` is
    the side of a latent in pixels, `patch` that of a token in latents.
    """
    num_frames = s.num_frames or defaults.num_frames
    start = _load_start(image, num_frames)
    height, width = _size(start[0], s, defaults, stride * patch)
    plan = make_guidance(s.guidance, s.text_guidance, s.audio_guidance, s.guidance_interval)
    _compare_with_training((height, width), num_frames, defaults)
    sigmas = _levels(s, plan, sigmas, defaults)
    speech = audio if isinstance(audio, Excerpt) else Excerpt(load_sound(audio, num_frames, rate), fps=rate)
    start = np.stack([fit_image(frame, height, width) for frame in start])
    grid = (latent_frames(num_frames), height // stride, width // stride)
    negative = defaults.negative_prompt if s.negative_prompt is None else s.negative_prompt
    return Request(start, speech, num_frames, rate, grid, plan, s.solver, sigmas, negative)


def _load_start(image: Any, num_frames: int) -> UInt8[np.ndarray, "known h w 3"]:
    """A portrait as a video of one frame; the frames with which a video begins as they are."""
    if not isinstance(image, np.ndarray) or image.ndim != 4:
        return load_image(image)[None]
    if image.dtype != np.uint8 or image.shape[-1] != 3 or len(image) % 4 != 1 or len(image) >= num_frames:
        raise InputError(
            f"The frames to go on from are {image.dtype} {list(image.shape)}; accepted is uint8 [n, height, width, 3], "
            f"n = 1, 5, 9, ... below the {num_frames} frames of the video."
        )
    return image


def _size(picture: np.ndarray, s: Sampling, defaults: Defaults, multiple: int) -> tuple[int, int]:
    if s.height is None:
        return choose_size(*picture.shape[:2], defaults.area, multiple)
    if s.height % multiple or s.width % multiple:
        raise InputError(
            f"The size {s.height}x{s.width} does not fit; height and width must be multiples of {multiple}."
        )
    return s.height, s.width


def _levels(s: Sampling, plan: Guidance, sigmas: Any, defaults: Defaults) -> Float[np.ndarray, " n"]:
    """The solver's own noise levels or those that were given, without those that are skipped."""
    given = None if sigmas is None else check_sigmas(np.asarray(sigmas, np.float32))
    every = sigma_grid(s.solver, s.steps, s.shift) if given is None else given
    kept = keep_levels(every, defaults.velocity_path, s.skip) if s.skip else every
    count, most = evaluations(plan, kept), len(plan.branches) * (len(every) - 1)
    if count < most:
        log.info("%d evaluations of the transformer instead of %d", count, most)
    return kept


def _compare_with_training(size: tuple[int, int], num_frames: int, defaults: Defaults) -> None:
    """A warning of a size or a length that the model has not been trained on."""
    sizes, lengths, asked, trained = defaults.sizes, defaults.lengths, [], []
    if sizes and size not in sizes:
        asked.append(_by(size))
        trained.append(" or ".join(map(_by, sizes)))
    if lengths and num_frames not in lengths:
        asked.append(f"{num_frames} frames")
        trained.append(f"{' or '.join(map(str, lengths))} frames")
    if asked:
        log.warning("%s asked for, but the model was trained on %s.", " and ".join(asked), " and ".join(trained))


def encode_start(
    image: Any, request: Request, encoders: Encoders, defaults: Defaults, anyway: bool
) -> Float32[np.ndarray, "K H W C"]:
    """Latents of the portrait, or of what goes on; InputError, unless `anyway`, for what the model's codec cannot
    show."""
    clean = encoders.video(request.start)
    if not anyway:
        _check_portrait(image, clean[:1], encoders, defaults)
    return clean


def _check_portrait(image: Any, first: Float32[np.ndarray, "1 H W C"], encoders: Encoders, defaults: Defaults) -> None:
    """Refuses a portrait that is not of the world on which a small model's codec was fitted."""
    limit = defaults.strangest_portrait
    if limit is not None and (found := encoders.strangeness(first)) > limit:
        name = f"Image {image}" if isinstance(image, str | Path) else "The image"
        raise InputError(
            f"{name} is not of the world that this model shows: its strangeness to the codec is {found:.1f}, "
            f"accepted is at most {limit:g}; anyway=True (--anyway) samples it all the same."
        )


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels"
