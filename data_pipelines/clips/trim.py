"""Films to clips: of a stretch its longest shot, and of the picture what lies inside black borders."""

import dataclasses
import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np

from actavatar_jax.media.clock import FPS
from actavatar_jax.media.video import VideoInfo
from data_pipelines.clips.stretch import Stretch, crop_slices
from data_pipelines.filters import CUT_MARGIN, QUALITY_EVERY, ShotDetector, find_lit_area, shrink_to_grey
from data_pipelines.table import Clip, Skip

Crop = tuple[float, float, float, float] | None

SPECK = 16  # pixels at the size at which quality is measured; a picture with less light than this is taken for black


def trim_clip(source: Path, info: VideoInfo, clip: Clip) -> tuple[Clip, int]:
    """(the clip of its longest shot, cropped to the picture inside its black borders; number of shots).

    What needs no trimming stays as it is. The stretch is decoded twice, and once more where there is a cut. Raises Skip
    where all shots are too short to keep clear of the cuts beside them.
    """
    inside = _inside_borders(source, info, clip)
    shot, count = _longest_shot(source, info, dataclasses.replace(clip, crop=inside))
    if count > 1:  # the borders of one shot may be wider than those that all of them share
        inside = _inside_borders(source, info, dataclasses.replace(shot, crop=clip.crop))
    return dataclasses.replace(shot, crop=inside), count


def _inside_borders(source: Path, info: VideoInfo, clip: Clip) -> Crop:
    """The clip's crop, made smaller where it has black borders. A black clip keeps its own."""
    rows, columns = crop_slices(clip.crop, info.height, info.width)
    brightest = None
    for frame in itertools.islice(Stretch(source, info, clip.start, clip.end), 0, None, QUALITY_EVERY):
        grey = shrink_to_grey(frame[rows, columns])
        brightest = grey if brightest is None else np.maximum(brightest, grey)
    lit = find_lit_area(brightest)
    if min(side.stop - side.start for side in lit) < SPECK:
        return clip.crop
    down, across = (_clear(*side) for side in zip((rows, columns), lit, brightest.shape, strict=True))
    if (down, across) == (rows, columns):
        return clip.crop
    left, top = across.start / info.width, down.start / info.height
    return left, top, (across.stop - across.start) / info.width, (down.stop - down.start) / info.height


def _clear(pixels: slice, lit: slice, count: int) -> slice:
    """Which of the `pixels`, seen as `count` small ones, are inside borders: one small one less, as edges are soft."""
    scale = (pixels.stop - pixels.start) / count
    first = lit.start + 1 if lit.start else 0
    last = lit.stop - 1 if lit.stop < count else count
    return slice(pixels.start + round(first * scale), pixels.start + round(last * scale))


def _longest_shot(source: Path, info: VideoInfo, clip: Clip) -> tuple[Clip, int]:
    """The clip from `start` to `end` of its longest shot, and the number of shots."""
    rows, columns = crop_slices(clip.crop, info.height, info.width)
    detector, stretch = ShotDetector(), Stretch(source, info, clip.start, clip.end)
    for frame in stretch:
        detector.add_frame(frame[rows, columns])
    first, behind = detector.longest_shot()
    if first == behind:
        raise Skip("too short", f"no shot is longer than the {CUT_MARGIN} frames that are left out beside a cut")
    times = [float(stretch.origin - info.start + Fraction(frame, FPS)) for frame in (first, behind)]
    start = times[0] if first > 0 else clip.start
    end = times[1] if behind < stretch.frames else clip.end
    return dataclasses.replace(clip, start=start, end=end), len(detector.cuts) + 1
