"""Videos that are spoilt on purpose: what twins are like, and that measures are told as noticing it or not."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import CONTROLS, METRICS, BenchItem, BenchPhase, check_controls, read_bench
from actavatar_jax.evaluation.bench.clips import BenchClip, Results
from actavatar_jax.evaluation.bench.controls import checking, twins
from actavatar_jax.evaluation.bench.controls.expectations import Expectation, judge_expectation
from actavatar_jax.evaluation.bench.metric import ClipMetric, Column, Scores, mean_of
from actavatar_jax.evaluation.bench.report import BenchReport, MetricReport
from actavatar_jax.media import Sound, load_video
from tests.data.chat_server import ChatServer
from tests.evaluation.bench.small_bench import make_bench, make_results
from tests.evaluation.bench.test_judge import answer, counted, settings

pytest.importorskip("httpx2")
pytest.importorskip("jinja2")
FRAMES = [np.full((4, 6, 3), value, np.uint8) for value in (3, 7, 11)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("controls")
    make_bench(root)
    make_results(root / "results")
    return root


def sees(request, number):
    """A judge with eyes: a still clip has no action, actions have their order, and the square goes to the right."""
    lefts = [_left(part) for part in request["messages"][1]["content"][3:-1:2]]
    steps = np.diff(lefts)
    told = re.findall(r"^\d+\. from .*number (\d+)", request["messages"][1]["content"][-1]["text"], re.M)
    if not steps.any():
        changes = {"ao": 0, "aa": 0, "tc": 0, "observed_start": None, "observed_end": None}
    elif sorted(told) != told:
        changes = {"ao": 0, "aa": 2, "tc": 1, "observed_start": None, "observed_end": None}
    else:
        changes = {"tc": 2} if np.median(steps) < 0 else {}
    return counted(json.dumps(answer(request, **changes)))


def _left(part):
    picture = Image.open(io.BytesIO(base64.b64decode(part["image_url"]["url"].partition(",")[2])))
    return int(np.flatnonzero(np.asarray(picture.convert("L"))[20:40].mean(0) > 120)[0])


def checked(world, out, script, metrics="energy,psnr,judge"):
    with ChatServer(script) as server:
        options = {"metrics": metrics, "judge": settings(server), "progress": False}
        return check_controls(world / "results", world / "bench.jsonl", out, **options)


@pytest.mark.slow
def test_a_judge_with_eyes_passes_and_one_without_is_found_out(world, tmp_path):
    report = checked(world, tmp_path / "good", sees)
    assert {(outcome.control, outcome.held) for outcome in report.outcomes} == {
        (name, True) for name in ("frozen", "swapped", "reversed", "blurred")
    }, report.table()
    assert report.table().endswith("9 of 9 as they should; 0 not measured")
    kept = json.loads((tmp_path / "good" / "controls.json").read_text())
    assert [row["held"] for row in kept] == [True] * 9
    blind = checked(world, tmp_path / "blind", lambda request, number: counted(json.dumps(answer(request))), "judge")
    found = {(outcome.control, outcome.measure): outcome.held for outcome in blind.outcomes}
    assert [measure for (_, measure), held in found.items() if held] == [
        "AQ, action quality 0-10",
        "HC, hand clarity 0-10",
    ]
    assert "NOT AS IT SHOULD" in blind.table()


def test_twins_differ_in_nothing_else_and_are_written_once(world, tmp_path, monkeypatch):
    def check():
        check_controls(world / "results", world / "bench.jsonl", tmp_path, metrics="energy,psnr", progress=False)

    check()
    whole = load_video(tmp_path / "whole" / "videos" / "nod.mp4")
    frozen = load_video(tmp_path / "frozen" / "videos" / "nod.mp4")
    assert np.abs(frozen.frames.astype(int) - whole.frames[:1]).mean() < 2
    assert len(frozen.frames) == len(whole.frames) == 25
    np.testing.assert_allclose(frozen.audio, whole.audio, atol=1e-3)

    written = []
    write = checking.write_video
    monkeypatch.setattr(checking, "write_video", lambda path, *rest: written.append(path) or write(path, *rest))
    check()
    assert not written
    (tmp_path / "frozen" / "videos" / "nod.mp4").write_bytes(b"damaged")
    (tmp_path / "blurred" / "videos" / "rest.mp4").unlink()
    check()
    assert {(path.parts[-3], path.name) for path in written} == {("frozen", "nod.mp4"), ("blurred", "rest.mp4")}


def test_ways_of_spoiling():
    assert [frame[0, 0, 0] for frame in twins.freeze(FRAMES)] == [3, 3, 3]
    assert [frame[0, 0, 0] for frame in twins.turn_back(FRAMES)] == [11, 7, 3]
    assert all(frame.shape == (4, 6, 3) and frame.dtype == np.uint8 for frame in twins.turn_back(FRAMES))
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 200
    (soft,) = twins.blur([edge])
    assert 0 < soft[0, 31, 0] < 100 < soft[0, 32, 0] < 200 and soft[0, 0, 0] == 0 and soft[0, -1, 2] == 200
    late = twins.delay(Sound(np.arange(1, 8001, dtype=np.float32)[:, None] / 8000, 8000))
    assert not late.samples[:1600].any() and late.samples[1600, 0] > 0 and late.samples.shape == (8000, 1)


def test_actions_are_swapped_between_windows():
    item = BenchItem(
        "a",
        Path("a.png"),
        Path("a.wav"),
        "A man.",
        tuple(BenchPhase(s, s + 1, f"He does {s}.", f"{s}") for s in (0.0, 1.0, 2.0)),
    )
    swapped = twins.swap_actions(item)
    assert [(p.start, p.end, p.action, p.body_part) for p in swapped.phases] == [
        (0, 1, "He does 1.0.", "1.0"),
        (1, 2, "He does 2.0.", "2.0"),
        (2, 3, "He does 0.0.", "0.0"),
    ]
    assert twins.swap_actions(BenchItem("a", Path("a.png"), Path("a.wav"), "A man.", item.phases[:1])) is None


def test_what_cannot_be_measured_is_said(world, tmp_path):
    report = check_controls(world / "results", world / "bench.jsonl", tmp_path, metrics="sync,energy", progress=False)
    held = {(outcome.control, outcome.measure): outcome for outcome in report.outcomes}
    assert held["late", "sync_offset"].held is None and "syncnet_v2.model" in held["late", "sync_offset"].found
    assert report.table().endswith("1 of 1 as they should; 4 not measured")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="None of the videos"):
        check_controls(tmp_path / "none", world / "bench.jsonl", tmp_path, metrics="energy", progress=False)


def report(values):
    """Of clips with these scores; None: not scored."""
    clips = {
        name: BenchClip(BenchItem(name, Path("a"), Path("b"), "c", ()), Path(name), name, 25, ()) for name in values
    }
    rows = {name: {"judge_aq": value} for name, value in values.items() if value is not None}
    column = Column("judge_aq", "AQ", "higher")
    scores = Scores(rows, {}, {"judge_aq": mean_of("judge_aq", rows)})
    items = [clip.item for clip in clips.values()]
    found = Results(tuple(clips.values()), {}, ())
    return BenchReport("", "", "", items, found, [MetricReport("judge", (column,), scores)])


@pytest.mark.parametrize(
    "kind, amount, spoilt, held",
    [
        ("falls", 0, (1.0, 2.0, 3.0), True),
        ("falls", 0, (1.0, 6.0, 3.0), False),  # on the whole, but not in every draw of clips
        ("falls", 0, (5.0, 6.0, 7.0), False),
        ("rises", 0, (5.0, 6.0, 7.0), True),
        ("rises", 0, (3.0, 7.0, 7.0), False),
        ("rises", 0, (4.0, 5.0, 6.0), False),
        ("rises", 0, (1.0, 2.0, 3.0), False),
        ("stays", 0.5, (4.5, 5.4, 6.5), True),
        ("stays", 0.5, (5.0, 6.0, 7.0), False),
        ("stays", 0.5, (3.0, 4.0, 5.0), False),
        ("moves", -1, (3.0, 4.0, 9.0), True),
        ("moves", 1, (3.0, 4.0, 9.0), False),
        ("at most", 3.0, (2.0, 3.0, 4.0), True),
        ("at most", 2.9, (2.0, 3.0, 4.0), False),
        ("not scored", 0, (None, None, None), True),
        ("not scored", 0, (None, 1.0, None), False),
        ("falls", 0, (None, None, None), None),
    ],
)
def test_what_holds_of_an_expectation(kind, amount, spoilt, held):
    whole = dict(zip("abc", (4.0, 5.0, 6.0), strict=True))
    expectation = Expectation("judge_aq", kind, amount)
    outcome = judge_expectation("c", expectation, report(whole), report(dict(zip("abc", spoilt, strict=True))))
    assert outcome.held is held and outcome.measure == "AQ"


def test_every_metric_has_a_control():
    controlled = {expectation.column.partition("_")[0] for control in CONTROLS for expectation in control.expectations}
    assert controlled == set(METRICS)


def test_another_picture_is_of_somebody_else(tmp_path):
    """Items may have one picture; the last one goes around to the first."""
    pictures = {"a": (9, "x"), "b": (9, "y"), "c": (5, "z"), "d": (9, "x")}
    clips = []
    for name, (grey, picture) in pictures.items():
        Image.new("RGB", (8, 8), (grey,) * 3).save(tmp_path / f"{picture}.png")
        item = BenchItem(name, tmp_path / f"{picture}.png", Path("a.wav"), "A man.", ())
        clips.append(BenchClip(item, Path(f"{name}.mp4"), name, 25, ()))
    changed = checking._with_other_pictures(clips)
    assert [(item.id, item.image.stem) for item in changed] == [("a", "z"), ("b", "z"), ("c", "x"), ("d", "z")]


def test_the_other_picture_is_asked_for_and_one_picture_is_none(world, tmp_path):
    """The bench has one face: nothing can be told of it. With a second one, the same videos are asked for by it."""

    def outcome(out):
        (one,) = check_controls(world / "results", world / "bench.jsonl", out, metrics="csim", progress=False).outcomes
        return one

    assert outcome(tmp_path / "one").found == "there is no second picture"
    bench = world / "bench.jsonl"
    text = bench.read_text()
    Image.new("RGB", (8, 8)).save(world / "other.png")
    try:
        bench.write_text(text.replace("face.png", "other.png", 1))
        assert "w600k_r50.onnx" in outcome(tmp_path / "two").found
    finally:
        bench.write_text(text)
    pictures = [item.image.name for item in read_bench(tmp_path / "two" / "other_picture" / "bench.jsonl")]
    assert pictures == ["face.png", *["other.png"] * 5]


def test_metrics_may_be_stood_in_for_and_measure_a_clip_once(world, tmp_path):
    """Seven: six whole clips, and frozen ones that are all alike; none where it is asked for again."""
    seen = []

    def measure(clip):
        seen.append(clip.item.id)
        return {"energy": 1.0}

    metric = ClipMetric("energy", (Column("energy", "movement", "higher"),), measure, {}, lambda clip: ["own"])
    options = {"metrics": "energy", "stand_ins": [metric], "progress": False}
    (outcome,) = check_controls(world / "results", world / "bench.jsonl", tmp_path, **options).outcomes
    assert (outcome.measure, outcome.held) == ("movement", False) and len(seen) == 7
    check_controls(world / "results", world / "bench.jsonl", tmp_path, **options)
    assert len(seen) == 7


def test_one_video_has_no_other_sound(world, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "wave.mp4").symlink_to(world / "results" / "wave.mp4")
    outcomes = check_controls(
        tmp_path / "one", world / "bench.jsonl", tmp_path / "out", metrics="sync", progress=False
    ).outcomes
    assert {o.found for o in outcomes if o.control == "other sound"} == {"there is no second video"}
