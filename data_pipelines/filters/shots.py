"""Cuts within a clip, by PySceneDetect's content detector."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import read_frames
from data_pipelines.filters.pictures import shrink_frame
from data_pipelines.filters.versions import make_version
from data_pipelines.table import Clip, Step, clip_path, import_extra

THRESHOLD = 27.0
SIDE = 256  # pixels of the long side at which pictures are compared
CUT_MARGIN = 4  # frames left out beside a cut, where pictures of two shots may be mixed


def make_shots_step(models: Path | None) -> Step:
    import_extra("scenedetect")
    return Step("shots", measure_shots, make_version(__name__))


def measure_shots(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    """Columns: cuts (number), cut_times; longest_start, longest_end, longest_seconds of the longest shot; seconds."""
    detector = ShotDetector()
    for frame in read_frames(clip_path(clip, clip_dir)):
        detector.add_frame(frame)
    start, end = (frame / FPS for frame in detector.longest_shot())
    return {
        "cuts": len(detector.cuts),
        "cut_times": [cut / FPS for cut in detector.cuts],
        "longest_start": start,
        "longest_end": end,
        "longest_seconds": end - start,
    }


class ShotDetector:
    """Sees pictures of one size one after the other; `cuts` are the numbers of those with which another shot begins."""

    def __init__(self):
        # Any shorter shot counts, also one that ends just after the first picture.
        self._detector = import_extra("scenedetect").ContentDetector(THRESHOLD, min_scene_len=1)
        self.frames, self.cuts = 0, []

    def add_frame(self, frame: UInt8[np.ndarray, "H W 3"]) -> None:
        time = import_extra("scenedetect").FrameTimecode(self.frames, float(FPS))
        small = shrink_frame(frame, SIDE, quick=True)  # as PySceneDetect does it, whose threshold this is
        small = import_extra("cv2").cvtColor(small, import_extra("cv2").COLOR_RGB2BGR)
        self.cuts += [cut.frame_num for cut in self._detector.process_frame(time, small)]
        self.frames += 1

    def longest_shot(self) -> tuple[int, int]:
        """The first frame of the longest shot and the one behind its last, clear of cuts; the same if all are short."""
        starts = [0] + [cut + CUT_MARGIN for cut in self.cuts]
        ends = [cut - CUT_MARGIN for cut in self.cuts] + [self.frames]
        start, end = max(zip(starts, ends, strict=True), key=lambda shot: shot[1] - shot[0])
        return start, max(start, end)
