"""Videos drawn for tests of preparing, and what became of them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_pipelines.clips import prepare_clips
from data_pipelines.selection.failures import find_failures
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from data_pipelines.table import read_manifest

HEIGHT, WIDTH = 64, 96


def run(videos, clips, **settings):
    return prepare_clips(videos, clips, **({"min_frames": 10, "min_side": 32, "progress": False} | settings))


def rows_by_source(clips):
    """Columns `prepare.*` and the id, by the last part of the source."""
    return {
        "/".join(Path(clip.source).parts[-2:] if "below" in clip.source else Path(clip.source).parts[-1:]): {
            "id": clip.id
        }
        | {name.removeprefix("prepare."): value for name, value in clip.facts.items()}
        for clip in read_manifest(clips)
    }


def rejected(clips):
    """{last part of a source: reason, or None} by what the default rules of stage 1 say of the time base."""
    rules = [rule for rule in RuleSet.load(DEFAULT_RULES / "stage1.yaml").rules if rule.column.startswith("prepare.")]
    table = read_manifest(clips)
    failures = zip(table.column("source"), find_failures(RuleSet(tuple(rules)), table), strict=True)
    return {Path(source).name: failure and failure[0] for source, failure in failures}


def make_video(path, images, times, audio, audio_start=0.0, turn=None):
    """Frames at `times` (milliseconds), key frames 250 apart, and a 44.1 kHz sound from `audio_start` seconds on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "50"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(**turn)
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for start in range(0, len(audio), 1024):
            frame = av.AudioFrame.from_ndarray(audio[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start + round(audio_start * 44100)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def onsets(signal: np.ndarray, threshold: float, dead: int) -> list[int]:
    """Where a signal rises above a threshold, at least `dead` apart."""
    found = []
    for i in np.flatnonzero(signal > threshold):
        if not found or i - found[-1] > dead:
            found.append(int(i))
    return found
