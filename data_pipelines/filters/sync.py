"""Whether lips and sound fit, and by how many frames they are apart: SyncNet (Chung and Zisserman, 2016)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8
from scipy.signal import medfilt

from actavatar_jax.media.audio import load_audio
from actavatar_jax.media.clock import SAMPLE_RATE, SAMPLES_PER_FRAME
from actavatar_jax.media.video import read_frames
from data_pipelines.filters.faces import FACES_EVERY, Track, detect_faces, link_faces, make_faces_step
from data_pipelines.filters.models import find_models, load_model, run_model
from data_pipelines.filters.pictures import read_every_nth
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Skip, Step, clip_path, import_extra

SIDE, WINDOW, BATCH = 224, 5, 8  # pixels of a face; frames that the model sees; windows at a time
CEPSTRA, PER_FRAME = 13, 4  # cepstral coefficients, vectors of them per frame
VIDEO_SHAPES = ((None, 3, WINDOW, SIDE, SIDE),), ((None, None),)
AUDIO_SHAPES = ((None, 1, CEPSTRA, WINDOW * PER_FRAME),), ((None, None),)
SHIFT = 15  # frames in both directions in which the best fit is looked for
MIN_TRACK = 50  # frames in which more than so many a face must be seen: of less the crops are one held still
MARGIN = 0.4  # of the face's size, around it
GREY = 110


def make_sync_step(models: Path | None) -> Step:
    found = find_models(models, "sync")
    if found is None:
        return Step("sync", MeasureSync(None), make_version(__name__, f"{__package__}.faces"))
    make_faces_step(models)
    load_model(found[1], *VIDEO_SHAPES), load_model(found[2], *AUDIO_SHAPES), import_extra("python_speech_features")
    return Step("sync", MeasureSync(found), make_version(__name__, f"{__package__}.faces", models=found))


@dataclass(frozen=True)
class MeasureSync:
    """Columns: available, track (frames in which the face is seen), confidence (median distance of all shifts less the
    smallest one), offset (frames by which the sound comes late; SyncNet's own program prints its negative), distance
    (the smallest)."""

    models: tuple[Path, Path, Path] | None

    def __call__(self, clip: Clip, clip_dir: Path) -> dict[str, Any]:
        if self.models is None:
            return {"available": False}
        path = clip_path(clip, clip_dir)
        detector, video, audio = self.models
        track = _longest_track(path, detector)
        first, last = min(track), max(track) + FACES_EVERY - 1  # frames; nothing is known of the face beyond
        mouth = np.stack(list(_crops(path, track, first, last)))
        sound = _cepstra(load_audio(path)[first * SAMPLES_PER_FRAME : (last + 1) * SAMPLES_PER_FRAME])
        count = min(len(mouth), len(sound) // PER_FRAME) - WINDOW
        if count < 2 * SHIFT:
            raise Skip("too short", f"{count + WINDOW} frames with sound, {2 * SHIFT + WINDOW} are needed for sync")
        seen = [mouth[i : i + WINDOW].transpose(3, 0, 1, 2) for i in range(count)]
        heard = [sound[PER_FRAME * i : PER_FRAME * (i + WINDOW)].T[None] for i in range(count)]
        distances = measure_shifts(
            _features(load_model(video, *VIDEO_SHAPES), seen), _features(load_model(audio, *AUDIO_SHAPES), heard)
        )
        best = int(distances.argmin())
        return {
            "available": True,
            "track": FACES_EVERY * len(track),
            "confidence": float(np.median(distances) - distances[best]),
            "offset": best - SHIFT,
            "distance": float(distances[best]),
        }


def measure_shifts(seen: Float32[np.ndarray, "n d"], heard: Float32[np.ndarray, "n d"]) -> Float[np.ndarray, " shifts"]:
    """Mean distance of what is seen to what is heard 15 frames earlier, ..., 15 frames later.

    Beyond the ends zeros are heard, as in SyncNet's own program, whose confidences thresholds are known for.
    """
    padded = np.pad(heard, ((SHIFT, SHIFT), (0, 0)))
    return np.array([np.linalg.norm(seen - padded[s : s + len(seen)], axis=1).mean() for s in range(2 * SHIFT + 1)])


def _features(session, windows: list[np.ndarray]) -> Float32[np.ndarray, "n d"]:
    batches = (np.stack(windows[i : i + BATCH]).astype(np.float32) for i in range(0, len(windows), BATCH))
    return np.concatenate([run_model(session, batch)[0] for batch in batches])


def _cepstra(samples: Float32[np.ndarray, " n"]) -> Float[np.ndarray, "vectors 13"]:
    """100 vectors a second, of 16-bit samples, by the package that SyncNet was trained with."""
    return import_extra("python_speech_features").mfcc((samples * 32767).round(), SAMPLE_RATE, numcep=CEPSTRA)


def _longest_track(path: Path, detector: Path) -> Track:
    """The boxes of the most seen face, by frame. Raises Skip where it is not seen for long enough."""
    faces = [detect_faces(frame, detector) for frame in read_every_nth(path, FACES_EVERY)]
    tracks = link_faces(faces)
    if not tracks:
        raise Skip("no face", "no face is seen, so that no mouth can be compared with the sound")
    if FACES_EVERY * len(faces) <= MIN_TRACK:
        raise Skip("too short", f"more than {MIN_TRACK} frames are needed for sync")
    if FACES_EVERY * len(tracks[0]) <= MIN_TRACK:
        raise Skip(
            "face seen briefly",
            f"the most seen face is found in {FACES_EVERY * len(tracks[0])} frames, counted every {FACES_EVERY}; more "
            f"than {MIN_TRACK} are needed for sync",
        )
    return {FACES_EVERY * sample: box for sample, box in tracks[0].items()}


def _crops(path: Path, track: Track, first: int, last: int) -> Iterator[UInt8[np.ndarray, "224 224 3"]]:
    """The face in the frames from `first` to `last`, blue first, with the chin and some room around it."""
    cv2 = import_extra("cv2")
    boxes = np.array(list(track.values()))
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    values = np.column_stack([centre, boxes[:, 2:].max(1) / 2])
    samples = np.array(list(track))
    for index, frame in itertools.islice(enumerate(read_frames(path)), first, last + 1):
        x, y, half = (np.interp(index, samples, medfilt(column, 3)) for column in values.T)
        scale = SIDE / (2 * half * (1 + MARGIN))
        corner = np.array([x - half * (1 + MARGIN), y - half])
        matrix = np.column_stack([np.eye(2) * scale, -scale * corner])
        yield cv2.warpAffine(frame, matrix, (SIDE, SIDE), borderValue=(GREY,) * 3)[..., ::-1]
