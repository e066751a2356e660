"""One clip to records: its windows, each cut before it is encoded, are read, and go through the frozen encoders."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from actavatar_jax.errors import InputError
from actavatar_jax.media.audio import decode_audio, fit_audio
from actavatar_jax.media.clock import FPS, SAMPLES_PER_FRAME
from actavatar_jax.media.video import probe, read_frames
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.storage import Place, fetched
from data_pipelines.shards.buckets import Bucket
from data_pipelines.shards.records import FrozenEncoders, RecordMaker
from data_pipelines.shards.schema import Record, serialize_record
from data_pipelines.table import Clip, Skip, actions_path, caption_path, clip_path

CONFIDENT = 3.0  # of SyncNet: below, lips and sound have not been seen to fit at any offset
BRIEF_PROMPT = StructuredPrompt("A person speaking")  # for clips that nobody described


class Window(NamedTuple):
    """A window of a clip as it is read: its first frame, frames [F, h, w, 3], 640 samples for each, and its prompt."""

    start: int
    frames: np.ndarray
    samples: np.ndarray
    prompt: StructuredPrompt


class ClipEncoder:
    """Turns one clip into serialized records."""

    def __init__(self, clip_dir: Place, encoders: FrozenEncoders, settings: dict[str, Any]):
        self.clip_dir, self.frames, self.stride = clip_dir, settings["frames"], settings["stride_frames"]
        self.stage = settings["stage"]
        self.make_record = RecordMaker(encoders, settings["anchors"])

    def files(self, clip: Clip) -> list[Place]:
        """The video, and its text if there is one. Raises Skip where there is no video.

        For stage 1 that is what came with the clip, else what `annotate` saw in it where there is that.
        """
        video = clip_path(clip, self.clip_dir)
        if not video.is_file():
            raise Skip("no clip", f"{video} is in the manifest but not on disk; run `prepare` again")
        texts = [caption_path(clip, self.clip_dir)]
        if self.stage != 1:
            texts.insert(0, actions_path(clip, self.clip_dir))
        return [video, *[text for text in texts if text.is_file()][:1]]

    def starts(self, clip: Clip) -> list[int]:
        """The first frames of the clip's windows."""
        return place_windows(clip.facts["prepare.frames"], self.frames, self.stride)

    def read(self, clip: Clip, bucket: Bucket) -> Iterator[Window]:
        """The windows of a clip, in order. Raises Skip if it has none or cannot be read."""
        file, *prompt_file = self.files(clip)
        start = None
        try:
            prompt = StructuredPrompt.load(prompt_file[0]) if prompt_file else BRIEF_PROMPT
            if self.stage == 2 and not prompt.phases:
                raise Skip("no actions", "its prompt names no action, which stage 2 needs; see `annotate`")
            with fetched(file) as video:
                audio = earlier(decode_audio(video, origin=probe(video).start), sound_delay(clip))
                frames = read_frames(video, size=(bucket.height, bucket.width))
                for start, window in cut_windows(frames, self.frames, self.starts(clip)):
                    end = start + self.frames
                    samples = fit_audio(audio[start * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME], self.frames)
                    yield Window(start, window, samples, prompt.window(start / FPS, end / FPS))
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        if start is None:
            raise Skip("too short", f"the clip has {clip.facts['prepare.frames']} frames, a window needs {self.frames}")

    def encode(self, clip: Clip, windows: Iterable[Window]) -> Iterator[bytes]:
        """The records of the windows. Raises Skip if one cannot be encoded."""
        for window in windows:
            yield serialize_record(self._record(clip.id, window))

    def _record(self, clip: str, window: Window) -> Record:
        try:
            self.make_record.encode_text(window.prompt)
        except InputError as error:
            raise Skip("prompt too long", str(error)) from error
        try:
            return self.make_record(clip, *window)
        except InputError as error:
            raise Skip("unreadable", str(error)) from error
        except FloatingPointError as error:
            raise Skip("not finite", str(error)) from error


def sound_delay(clip: Clip) -> int:
    """Frames by which the sound of a clip comes late, as `filter sync` measured it; 0 where it is not sure of it."""
    confidence, offset = clip.facts.get("sync.confidence"), clip.facts.get("sync.offset")
    return round(offset) if offset is not None and (confidence or 0.0) >= CONFIDENT else 0


def earlier(audio: Float32[np.ndarray, " n"], frames: int) -> Float32[np.ndarray, " m"]:
    """Sound that comes so many frames earlier: what would lie before the first picture is left out; or, where it is to
    come later, begins with silence."""
    samples = frames * SAMPLES_PER_FRAME
    return audio[samples:] if samples >= 0 else np.pad(audio, (-samples, 0))


def place_windows(frames: int, length: int, stride: int) -> list[int]:
    """The first frames of a clip's windows: every `stride` as long as they are whole.

    Windows that lie end to end leave a rest. Where that is half a window or more, one more window ends with the clip
    and begins within the one before: 249 frames are two windows of 125, which share one frame.
    """
    starts = list(range(0, frames - length + 1, stride))
    if starts and stride == length and 2 * (frames - starts[-1] - length) >= length:
        starts.append(frames - length)
    return starts


def cut_windows(frames: Iterable[np.ndarray], length: int, starts: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """(first frame, frames [length, h, w, 3]) of the windows, holding one window of frames at a time."""
    held = deque(maxlen=length)
    for number, frame in enumerate(frames):
        held.append(frame)
        start = number + 1 - length
        if start in starts:
            yield start, np.stack(held)
