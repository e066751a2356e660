"""One video file to its scores of lip synchrony, or the reason why it has none; exactly, or sparsely."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from actavatar_jax.checks import checked, whole
from actavatar_jax.media.audio import decode_audio
from actavatar_jax.media.clock import SAMPLES_PER_FRAME, frame_count
from actavatar_jax.media.video import probe, read_frames
from actavatar_jax.synchrony import crops
from actavatar_jax.synchrony.mfcc import mfcc
from actavatar_jax.synchrony.scores import Scores, score_shifts
from actavatar_jax.synchrony.tracks import FaceTrack, find_sparse_tracks, find_tracks

WINDOW = 5  # frames that are seen and heard at once
PER_FRAME = 4  # vectors of cepstral coefficients
MIN_TRACK = 50  # detections of a face, of which there must be more
MIN_FACE = 100  # pixels
LOUD = 1e-3  # largest sample, of 1, of sound that is none: 60 dB below full scale

Boxes = Float[np.ndarray, "_ 4"]  # left, top, width, height in pixels
FindFaces = Callable[[UInt8[np.ndarray, "H W 3"]], Boxes]


@runtime_checkable
class Features(Protocol):
    """What is asked of the network; `synchrony.syncnet.load_syncnet` gives it."""

    def see(
        self, faces: Iterable[UInt8[np.ndarray, "224 224 3"]], every: int = 1
    ) -> Float32[np.ndarray, "windows D"]: ...

    def hear(self, cepstra: Float64[np.ndarray, "windows 13 20"]) -> Float32[np.ndarray, "windows D"]: ...


@dataclass(frozen=True, eq=False)
class Synchrony:
    """The scores of a video's face that is seen in most frames.

    frames: of the video. detections: frames in which the face is found. heard: frames of its track that have sound.
    """

    scores: Scores
    frames: int
    detections: int
    heard: int

    @property
    def track(self) -> int:
        """Frames in which the face is both found and heard, of which a minimum track asks for more than so many."""
        return min(self.detections, self.heard)

    @property
    def coverage(self) -> float:
        """Part of the video's frames in which the face is found."""
        return self.detections / self.frames


@dataclass(frozen=True)
class NotScored:
    """Why a video has no scores: no sound, silent, no face, too short or small face; and a sentence on it."""

    reason: str
    detail: str


def score_synchrony(
    video: str | Path,
    syncnet: Features,
    find_faces: FindFaces,
    *,
    min_track: int = MIN_TRACK,
    min_face: float | int = MIN_FACE,
    cuts: Sequence[int] = (),
) -> Synchrony | NotScored:
    """Sync-C, Sync-D and offset of the face that is seen longest, as SyncNet's own program finds them.

    The video is read on the clock of 25 frames a second, twice; only a few frames are held at a time.

    Args:
      video: a file of any rate, with its sound.
      syncnet: the network.
      find_faces: the boxes of the faces in an RGB frame: left, top, width, height in pixels.
      min_track: the face must be found in more frames than this, and be heard in more.
      min_face: pixels that the mean width or height of its boxes must exceed.
      cuts: numbers of the frames with which another shot begins; no face is followed over them.

    Raises:
      InputError: the file cannot be read as a video, or `min_track` is shorter than what boxes are smoothed over.
    """
    checked("minimum track", min_track, int, whole(crops.SMOOTHED, 10**6))
    video = Path(video)

    def find_track() -> tuple[FaceTrack | NotScored, int]:
        boxes = [find_faces(frame) for frame in read_frames(video)]
        return _choose(find_tracks(boxes, cuts), min_track, min_face), len(boxes)

    return _score(video, syncnet, find_track, min_track, every=1)


def score_sparsely(
    video: str | Path, syncnet: Features, find_boxes: Callable[[], Sequence[Boxes]], every: int
) -> Synchrony | NotScored:
    """An estimate of `score_synchrony` for who looks at very many videos; of faces of any size, in videos without cuts.

    Faces are looked for in the frames 0, every, 2 every, ..., and move evenly in between. Of the windows, those
    are seen that begin with the first frame of the face's track and with every so-manieth from there on.

    Args:
      find_boxes: gives the boxes of the faces in those frames; called only where there is sound.

    Raises:
      InputError: the file cannot be read as a video.
    """

    def find_track() -> tuple[FaceTrack | NotScored, int]:
        boxes = find_boxes()
        return _choose(find_sparse_tracks(boxes, every), MIN_TRACK, 0), (len(boxes) - 1) * every + 1

    return _score(Path(video), syncnet, find_track, MIN_TRACK, every)


def _score(
    video: Path,
    syncnet: Features,
    find_track: Callable[[], tuple[FaceTrack | NotScored, int]],
    min_track: int,
    every: int,
) -> Synchrony | NotScored:
    """`find_track`: the track, and in how many frames it was looked for."""
    samples = decode_audio(video, origin=probe(video).start)
    if samples is None or not len(samples):
        return NotScored("no sound", "the file has no sound")
    track, frames = find_track()
    if isinstance(track, NotScored):
        return track

    end = track.first + len(track.boxes)
    samples = samples[track.first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
    length = min(len(track.boxes), frame_count(len(samples)))
    if length <= min_track:
        return NotScored("too short", f"{length} frames of the face have sound; more than {min_track} are needed")
    if np.abs(samples).max() <= LOUD:
        return NotScored("silent", "nothing is to be heard while the face is seen")

    # SyncNet's program leaves out the last window, and with it the last frame.
    count = length - WINDOW
    faces = crops.cut_faces(itertools.islice(read_frames(video), track.first, end), track.boxes)
    seen = syncnet.see(itertools.islice(faces, count + WINDOW - 1), every)
    heard = syncnet.hear(cut_windows(mfcc(samples), count))
    return Synchrony(score_shifts(seen, heard, every), frames, track.detections, length)


def cut_windows(cepstra: Float64[np.ndarray, "vectors 13"], count: int) -> Float64[np.ndarray, "count 13 20"]:
    """The sound of the windows that begin with frame 0, 1, ..., count - 1."""
    windows = np.lib.stride_tricks.sliding_window_view(cepstra, WINDOW * PER_FRAME, axis=0)
    return windows[::PER_FRAME][:count]


def _choose(tracks: Sequence[FaceTrack], min_track: int, min_face: float | int) -> FaceTrack | NotScored:
    """The most seen face that is large enough."""
    if not tracks:
        return NotScored("no face", "no face is seen, so that no mouth can be compared with the sound")
    long = [track for track in tracks if track.detections > min_track]
    if not long:
        found = f"the most seen face is found in {tracks[0].detections} frames"
        return NotScored("too short", f"{found}; more than {min_track} are needed")
    large = [track for track in long if track.size > min_face]
    if not large:
        size = max(track.size for track in long)
        return NotScored("small face", f"faces are {size:.0f} pixels large; more than {min_face:g} are needed")
    return large[0]
