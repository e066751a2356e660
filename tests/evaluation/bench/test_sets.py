"""Which clips go into the distances of sets, and what is told of a distance that there is not."""

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BenchItem, sets
from actavatar_jax.evaluation.bench.clips import BenchClip, Results
from actavatar_jax.evaluation.bench.comparing import compare_reports
from actavatar_jax.evaluation.bench.kept import Kept
from actavatar_jax.evaluation.bench.report import BenchReport, MetricReport, OldBench, OldReport
from actavatar_jax.evaluation.features import Extractor
from actavatar_jax.evaluation.results import SetDistance
from actavatar_jax.storage import plain


def clips(*frames):
    items = [BenchItem(f"clip{n}", Path("a.png"), Path("a.wav"), "A man.", ()) for n in frames]
    return [BenchClip(item, Path(f"{item.id}.mp4"), item.id, n, ()) for item, n in zip(items, frames, strict=True)]


def scores(monkeypatch, tmp_path, found, real_frames=200, value=3.0):
    """Of clips, by a distance that tells only what it was given; and the names of its videos by window."""
    given = {}

    def fvd(real, paths, weights, frames, resamples, cache):
        given[frames] = [path.stem for path in paths]
        if real_frames < frames:
            raise InputError(f"Video a.mp4 has {real_frames} frames; FVD takes at least {frames}.")
        count = len(given[frames])
        return SetDistance(f"fvd_{frames}", value + frames, None, (9, count), (9, count), "I3D", "bilinear")

    monkeypatch.setattr(sets, "fvd", fvd)
    steps = []
    metric = sets.open_set("fvd", Path("i3d.pt"), Path("real"), {})
    return metric, metric.score(found, Kept(tmp_path), lambda: steps.append(1)), given, steps


def test_each_window_takes_the_clips_that_are_as_long(monkeypatch, tmp_path):
    metric, found, given, steps = scores(monkeypatch, tmp_path, clips(10, 16, 124, 125, 130))
    assert given == {16: ["clip16", "clip124", "clip125", "clip130"], 125: ["clip125", "clip130"]}
    assert [column.name for column in metric.columns] == ["fvd_16", "fvd_125"]
    assert {name: (one.value, one.clips) for name, one in found.figures.items()} == {
        "fvd_16": (19.0, 4),
        "fvd_125": (128.0, 2),
    }
    assert list(found.reasons) == ["clip10"] and found.reasons["clip10"].detail == "it has fewer than 16 frames"
    assert found.about["samples"] == {"fvd_16": [9, 4], "fvd_125": [9, 2]} and len(steps) == 4


@pytest.mark.parametrize(
    ("frames", "real_frames", "words"),
    [((30, 40), 200, "no clip has so many"), ((125, 125), 30, "Video a.mp4 has 30 frames; FVD takes at least 125")],
)
def test_whole_clips_that_there_are_not_leave_the_windows_their_distance(
    monkeypatch, tmp_path, frames, real_frames, words
):
    _, found, _, _ = scores(monkeypatch, tmp_path, clips(*frames), real_frames)
    assert found.figures["fvd_16"].value == 19.0 and math.isnan(found.figures["fvd_125"].value)
    assert found.figures["fvd_125"].clips == 0
    assert found.notes["remarks"][0].startswith(f"FVD, windows of 125 frames: {words}")


def test_what_is_of_other_numbers_of_videos_is_not_compared_and_the_rest_is(monkeypatch, tmp_path):
    def report(found, value):
        metric, own, _, _ = scores(monkeypatch, tmp_path, found, value=value)
        items = [clip.item for clip in found]
        return BenchReport(
            "r", "b", "d", items, Results(tuple(found), {}, ()), [MetricReport("fvd", metric.columns, own)]
        )

    shorter = clips(125, 130, 131)
    shorter[2] = replace(shorter[2], frames=124)
    told = plain(report(shorter, 3.0).to_dict())
    old = OldReport("old", OldBench("d"), told["metrics"], [])
    figures = compare_reports(report(clips(125, 130, 131), 5.0), old)["figures"]
    assert figures["fvd_16"]["value"] == 2.0
    assert figures["fvd_125"]["reason"] == "measured otherwise there: samples, videos"


@pytest.mark.parametrize(("frames", "windows"), [(10, []), (16, [16]), (125, [16, 125]), (None, [16, 125])])
def test_features_are_made_of_every_window_that_fits(monkeypatch, tmp_path, frames, windows):
    """And are those that a distance reads: of the same network, and in the same place."""
    made, kept = [], Kept(tmp_path)

    def open_extractor(measure, weights, length):
        def groups(videos, cache):
            made.append(length)
            assert (measure, weights, videos, cache) == ("FVD", Path("i3d.pt"), [Path("a.mp4")], tmp_path / "features")
            yield from [1, 2]

        return Mock(spec=Extractor, groups=groups)

    monkeypatch.setattr(sets, "clip_extractor", open_extractor)
    sets.open_set("fvd", Path("i3d.pt"), Path("real"), {}).extract(Path("a.mp4"), frames, kept)
    assert made == windows
