"""Cuts within a clip, by PySceneDetect's content detector."""

from pathlib import Path
from typing import Any

from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import probe
from data_pipelines.filters.models import extra
from data_pipelines.report import Skip
from data_pipelines.steps import Step, clip_path
from data_pipelines.table import Clip

THRESHOLD = 27.0
TRIMMED = 4 / FPS  # seconds left out beside a cut, where pictures of two shots may be mixed


def step(models: Path | None) -> Step:
    extra("scenedetect")
    return Step("shots", measure)


def measure(clip: Clip, clip_dir: Path) -> dict[str, Any]:
    """Columns: cuts (number), cut_times; longest_start, longest_end, longest_seconds of the longest shot; seconds."""
    scenedetect = extra("scenedetect")
    path = clip_path(clip, clip_dir)
    end = probe(path).duration
    try:
        # Any shorter shot counts, also one that ends just after the clip began.
        shots = scenedetect.detect(str(path), scenedetect.ContentDetector(THRESHOLD, min_scene_len=1))
    except scenedetect.VideoOpenFailure as error:
        raise Skip("unreadable", f"{path} cannot be read by OpenCV ({error})") from error
    cuts = [start.seconds for start, _ in shots[1:]]
    starts = [0.0] + [cut + TRIMMED for cut in cuts]
    ends = [cut - TRIMMED for cut in cuts] + [end]
    start, end = max(zip(starts, ends, strict=True), key=lambda shot: shot[1] - shot[0])
    return {
        "cuts": len(cuts),
        "cut_times": cuts,
        "longest_start": start,
        "longest_end": end,
        "longest_seconds": end - start,
    }
