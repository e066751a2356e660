"""What a video of EchoMimicV3 is asked for, read and fitted before anything long is computed.

F video frames, h w pixel sides, P tokens of a latent frame.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from actavatar_jax.echomimic import tasks
from actavatar_jax.echomimic.chunks import Chunk, cut_chunks
from actavatar_jax.echomimic.inputs import resize, video_size
from actavatar_jax.echomimic.options import EchoMimicSampling
from actavatar_jax.errors import InputError
from actavatar_jax.media import FPS, Sound, Video, load_image, load_sound, load_video
from actavatar_jax.storage import shown

log = logging.getLogger(__name__)

# What each task takes beside speech and prompt; `image` then is the picture to look like, else the video's first frame.
TASKS = {
    "first_frame": ({"image"}, set()),
    "first_and_last": ({"image", "last_image"}, set()),
    "continuation": ({"video"}, {"image"}),
    "mouth": ({"video", "mouth"}, {"image"}),
    "text_and_audio": (set(), set()),
}
EVERYWHERE = "everywhere"


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A task as long as the video, the chunks in which it is made, and what else is told in each of them."""

    task: tasks.Task
    chunks: list[Chunk]
    picture: UInt8[np.ndarray, "a b 3"] | None  # fitted; None: none is known
    face: Float32[np.ndarray, " P"] | None  # None: speech is heard everywhere
    speech: Sound  # that is heard
    recording: Sound

    @property
    def num_frames(self) -> int:
        return len(self.task.known)


def fit_request(
    variant: str,
    s: EchoMimicSampling,
    task: str,
    audio: Any,
    token: int,
    *,
    image: Any = None,
    last_image: Any = None,
    video: Any = None,
    mouth: Any = None,
    face: Any = None,
) -> Request:
    """Of the arguments of `EchoMimicPipeline`'s call, and the side of a token in pixels.

    Raises:
      InputError: one of them is missing, of no use, or does not fit.
    """
    _check_given(task, {"image": image, "last_image": last_image, "video": video, "mouth": mouth})
    if s.windows and (task, variant) != ("first_frame", "preview"):
        raise InputError(f"Windows are for first_frame with preview; for {task} with {variant} leave windows out.")
    if s.teacache == "shared" and variant == "preview":
        raise InputError("In preview all branches are one call, so that teacache has nothing to share; take separate.")
    recording = load_sound(audio)
    asked = s.num_frames or len(recording.samples) * FPS // recording.rate
    speech = recording if s.num_frames is None else recording.fit(asked)
    chunks = cut_chunks(asked, asked if s.windows else s.chunk_frames, s.overlap, s.chunk_tail)
    num_frames = min(asked, chunks[-1].end)
    given = None if video is None else _load_frames(video, num_frames)
    picture = None if image is None else load_image(image)
    picture = given[0] if picture is None and given is not None else picture
    size = _size(s, picture)
    fitted = None if picture is None else resize(picture, *size)
    if task == "mouth":
        whole = _mouth_task(given, mouth, num_frames, size)
    else:
        known = {} if fitted is None else {0: fitted}
        if task == "first_and_last":
            known[num_frames - 1] = resize(load_image(last_image), *size)
        if task == "continuation":
            if len(given) >= (most := min(num_frames, chunks[0].frames)):
                raise InputError(
                    f"The video to go on from has {len(given)} frames or more; accepted are fewer than the {most} that "
                    "are made at once."
                )
            known = {place: resize(frame, *size) for place, frame in enumerate(given)}
        whole = tasks.known_frames(num_frames, *size, known)
    return Request(whole, chunks, fitted, _face_tokens(variant, face, picture, size, token), speech, recording)


def _check_given(task: str, given: dict[str, Any]) -> None:
    if task not in TASKS:
        raise InputError(f"There is no task {shown(task)}; choose one of {', '.join(TASKS)}.")
    needed, accepted = TASKS[task]
    there = {name for name, value in given.items() if value is not None}
    if lost := sorted(needed - there):
        raise InputError(f"The task {task} needs {' and '.join(lost)}.")
    if stray := sorted(there - needed - accepted):
        raise InputError(f"The task {task} has no use for {' and '.join(stray)}; leave it out or choose another task.")


def _load_frames(video: Any, num_frames: int) -> UInt8[np.ndarray, "n a b 3"]:
    """At most as many as the video is to have."""
    if isinstance(video, str | Path):
        video = load_video(video, max_seconds=num_frames / FPS)
    frames = video.frames if isinstance(video, Video) else video
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError("The video is none; accepted is a path, a Video or uint8 [frames, height, width, 3].")
    if not len(frames):
        raise InputError("The video has no frames.")
    return frames[:num_frames]


def _mouth_task(video: np.ndarray, mouth: Any, num_frames: int, size: tuple[int, int]) -> tasks.Task:
    if len(video) < num_frames:
        raise InputError(
            f"The video has {len(video)} frames, but the speech lasts {num_frames}; give a longer video, or num_frames."
        )
    listed = isinstance(mouth, list | tuple | np.ndarray) and any(np.ndim(box) for box in mouth)
    boxes = list(mouth) if listed else [mouth] * num_frames
    if len(boxes) < num_frames:
        raise InputError(
            f"There are {len(boxes)} boxes of the mouth; accepted is one, or one for each of {num_frames}."
        )
    region = tasks.region_of_boxes(boxes[:num_frames], video.shape[1:3], size)
    return tasks.replacement(np.stack([resize(frame, *size) for frame in video]), region)


def _size(s: EchoMimicSampling, picture: np.ndarray | None) -> tuple[int, int]:
    if s.height is not None:
        return s.height, s.width
    if picture is None:
        raise InputError("There is no picture that tells the size of the video; give height and width.")
    return video_size(*picture.shape[:2])


def _face_tokens(
    variant: str, face: Any, picture: np.ndarray | None, size: tuple[int, int], token: int
) -> Float32[np.ndarray, " P"] | None:
    """Where speech is heard. A mask is never left out without a word: all of the picture would begin to talk."""
    if variant == "flash":
        if face is not None:
            raise InputError("The variant flash hears speech everywhere and takes no face; leave it out.")
        return None
    if isinstance(face, str) and face == EVERYWHERE:
        return None
    if picture is None:
        if face is not None:
            raise InputError("There is no picture in which a face could be; leave it out, or give one.")
        log.info("Without a picture there is no face known, so that speech is heard everywhere.")
        return None
    box = face(picture) if callable(face) else face
    if box is None:
        raise InputError(
            "No face is known in the picture; give face as (top, bottom, left, right) in its pixels, or "
            f"{EVERYWHERE!r} to let all of it talk."
        )
    return tasks.face_tokens(box, picture.shape[:2], size, token)
