"""A folder of videos to a report: every clip ends with numbers or a reason, nothing is measured twice."""

import base64
import html.parser
import io
import json
import re
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import ahead, clips, energy, evaluate_videos, read_bench
from actavatar_jax.evaluation.bench import metrics as opened
from actavatar_jax.evaluation.bench.page import worst_first
from actavatar_jax.evaluation.pairs import Comparison
from tests.commands import actavatar, refused
from tests.evaluation.bench.small_bench import WINDOWS, make_bench, make_results, make_video

pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bench, and a folder that has one right video and one of everything that can be wrong."""
    root = tmp_path_factory.mktemp("bench")
    make_bench(root)
    results = root / "results"
    make_video(results / "wave.mp4", WINDOWS["wave"])
    make_video(results / "nod.mp4", WINDOWS["nod"], fps=20, frames=20)
    make_video(results / "point.mp4", WINDOWS["point"], frames=15)
    make_video(results / "count.mp4", WINDOWS["count"])
    whole = (results / "count.mp4").read_bytes()
    (results / "count.mp4").write_bytes(whole[: len(whole) // 2])
    make_video(results / "rest.mp4", [(0.2, 0.6)])
    make_video(results / "more.mp4", [])
    return root


def measured(world, out, results="results", **options):
    options = {"metrics": "energy", "progress": False} | options
    report = evaluate_videos(world / results, world / "bench.jsonl", world / out, **options)
    return report, json.loads((world / out / "report.json").read_text())


@pytest.fixture(scope="module")
def report(world):
    return measured(world, "report", metrics=None)


@pytest.mark.slow
def test_workers_measure_and_the_report_reads(world, monkeypatch):
    """It is the one of a single process, which here measures nothing; what nobody can measure has its reason."""
    asked = {"metrics": "energy,ssim,csim,fid", "real": world / "results"}
    _, alone = measured(world, "alone", **asked)

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(opened, "energy_curve", never)
    monkeypatch.setattr(Comparison, "of", never)
    _, beside = measured(world, "beside", **asked, workers=2)
    assert beside == alone and beside["metrics"]["ssim"]["scored"] == 2


def test_a_worker_that_dies_is_one_sentence(world, monkeypatch, capsys):
    class Pool:
        def __init__(self, *_): ...

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def submit(self, *_):
            task = Future()
            task.set_exception(BrokenProcessPool("killed"))
            return task

    monkeypatch.setattr(ahead, "ProcessPoolExecutor", Pool)
    with pytest.raises(InputError, match="A process that measured clips died, perhaps for want of memory; take fewer"):
        measured(world, "died", workers=2)
    given = ("evaluate", "videos", world / "results", "--bench", world / "bench.jsonl", "--out", world / "died")
    refused(capsys, "take fewer", *given, "--metrics", "energy", "--workers", 2)
    assert actavatar(*given, "--metrics", "energy") == 0  # alone


def test_every_clip_ends_with_numbers_or_one_reason(report):
    _, told = report
    rows = {clip["id"]: clip for clip in told["clips"]}
    assert list(rows) == list(WINDOWS)
    assert rows["wave"]["scores"]["energy"] > 1.5 and rows["wave"]["not_scored"] == {}
    reasons = {name: {m: why["reason"] for m, why in row["not_scored"].items()} for name, row in rows.items()}
    assert reasons == {
        "wave": {},
        "nod": {"all": "other rate"},
        "point": {"all": "too short"},
        "count": {"all": "torn"},
        "lean": {"all": "missing"},
        "rest": {"energy": "no phases"},
    }
    assert rows["nod"]["not_scored"]["all"]["detail"] == "it has 20 frames a second, 25 are asked for"
    assert all(row["scores"] == {} for name, row in rows.items() if name != "wave")
    assert told["extra"] == ["more.mp4"]


def test_coverage_is_of_all_clips_and_reasons_are_counted(report):
    found, told = report
    energy = told["metrics"]["energy"]
    assert (energy["clips"], energy["scored"], energy["coverage"]) == (6, 1, pytest.approx(1 / 6))
    assert sum(energy["not_scored"].values()) == 5 and energy["not_scored"]["no phases"] == 1
    figure = energy["figures"]["energy"]
    assert figure["value"] == told["clips"][0]["scores"]["energy"] and figure["clips"] == 1
    assert figure["low"] is figure["high"] is None  # of one clip
    assert "movement inside windows over outside" in found.table() and "| 1 of 6 clips" in found.table()
    assert "not scored by any: 1 other rate, 1 too short, 1 torn, 1 missing" in found.table()
    assert told["program"]["actavatar_jax"] and told["bench"]["items"] == 6


def test_a_metric_without_its_weights_says_so_and_the_others_go_on(report):
    found, told = report
    assert [name for name, metric in told["metrics"].items() if metric["available"]] == ["energy"]
    for name, words in {
        "sync": "Lip synchrony is not available: it needs syncnet_v2.model, which is in the links of",
        "csim": "CSIM is not available: it needs w600k_r50.onnx, which is in insightface",
        "psnr": "PSNR, dB is not available: it compares with real videos",
        "fid": "FID is not available: it needs pt_inception-2015-12-05-6726825d.pth",
        "fvd": "FVD is not available: it needs i3d_pretrained_400.pt",
    }.items():
        assert told["metrics"][name]["reason"].startswith(words)
        assert f"{name}: {words}" in found.table()


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]


def test_the_page_shows_clips_with_pictures_and_windows_and_needs_no_other_file(world, report):
    page = (world / "report" / "report.html").read_text()
    reader = Reader()
    reader.feed(page)
    pictures = [link for link in reader.links if link.startswith("data:image/jpeg;base64,")]
    assert len(pictures) == len(reader.links) == 6 and "script" not in reader.tags
    for link in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))).height == clips.HEIGHT
    assert page.count('<rect class="phase"') == 1 and page.count("<polyline") == 1
    for word in (
        "other rate",
        "too short",
        "torn",
        "missing",
        "no phases",
        "more.mp4",
        "W",
        "2 clips, the worst first",
    ):
        assert word in page


def test_a_second_run_measures_what_is_new(world, report, monkeypatch):
    """Also in another folder of results and under another name: clips are known by their contents."""
    seen = []
    for module, name in ((clips, "read_frames"), (energy, "read_frames")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, real=real: seen.append(path.name) or real(path))
    _, again = measured(world, "report", metrics=None)
    assert again == report[1] and seen == []
    shutil.copytree(world / "results", world / "moved")
    make_video(world / "moved" / "wave.mp4", [(0.6, 1.0)])
    _, changed = measured(world, "report", results="moved")
    assert seen == ["wave.mp4"] * 2
    assert changed["clips"][0]["scores"]["energy"] < 1
    (world / "report" / "kept" / next(iter(kept(world))).name).write_text("{broken")
    measured(world, "report", results="moved")


def kept(world):
    return sorted((world / "report" / "kept").glob("*.json"))


def test_a_window_that_changed_is_measured_anew(tmp_path):
    """What a clip's row depends on beside the clip is of the bench."""
    bench = make_bench(tmp_path)
    make_results(tmp_path / "results", {"wave": WINDOWS["wave"]})
    first, _ = measured(tmp_path, "report")
    bench.write_text(bench.read_text().replace('"start": 0.2, "end": 0.6', '"start": 0.6, "end": 1.0'))
    second, _ = measured(tmp_path, "report")
    assert first.row("wave")["energy"] > 1 > second.row("wave")["energy"]


def test_two_reports_differ_clip_by_clip(tmp_path):
    """The other system moves when it should not; means lie apart by the mean of the clips' differences."""
    make_bench(tmp_path)
    make_results(tmp_path / "good")
    elsewhere = {name: [(0.0, 0.2)] for name in WINDOWS if name != "lean"}
    make_results(tmp_path / "bad", elsewhere)
    bad, _ = measured(tmp_path, "bad_report", results="bad")
    good, told = measured(tmp_path, "good_report", results="good", compare=tmp_path / "bad_report")
    figure = told["comparison"]["figures"]["energy"]
    both = ["wave", "nod", "point", "count"]
    differences = [good.row(name)["energy"] - bad.row(name)["energy"] for name in both]
    assert figure["clips"] == 4 and figure["value"] == pytest.approx(np.mean(differences))
    assert min(differences) <= figure["low"] < figure["value"] < figure["high"] <= max(differences)
    assert told["comparison"]["results"] == "bad"
    page = (tmp_path / "good_report" / "report.html").read_text()
    assert "Compared with bad" in page and f"{figure['value']:+.4g}" in page

    other = json.loads((tmp_path / "bad_report" / "report.json").read_text())
    other["metrics"]["energy"]["backbone"] = "another one"
    (tmp_path / "bad_report" / "report.json").write_text(json.dumps(other))
    _, told = measured(tmp_path, "good_report", results="good", compare=tmp_path / "bad_report")
    assert told["comparison"]["figures"]["energy"]["reason"] == "measured otherwise there: backbone"
    other["bench"]["digest"] = "another one"
    (tmp_path / "bad_report" / "report.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="is of another bench; accepted is one of the same file"):
        measured(tmp_path, "good_report", results="good", compare=tmp_path / "bad_report")

    order = [item.id for item in worst_first(good)]
    assert order[-1] == "rest"  # it has no number
    values = [good.row(name)["energy"] for name in order[:-1]]
    assert values == sorted(values)


def test_pairs_are_found_by_name(tmp_path):
    make_bench(tmp_path)
    make_results(tmp_path / "results", {name: WINDOWS[name] for name in ("wave", "nod", "point")})
    make_results(tmp_path / "real", {"wave": WINDOWS["wave"]})
    make_video(tmp_path / "real" / "nod.mp4", [], size=(64, 112))
    report, told = measured(tmp_path, "report", metrics=["psnr"], real=tmp_path / "real")
    assert report.row("wave")["psnr"] == pytest.approx(58.9, abs=0.1)  # the same file
    reasons = {clip["id"]: clip["not_scored"].get("psnr", {}) for clip in told["clips"]}
    assert reasons["nod"]["reason"] == "no fitting pair" and "accepted are equal sizes" in reasons["nod"]["detail"]
    assert reasons["point"]["reason"] == "no pair"


def test_the_command_prints_and_refuses(world, capsys, tmp_path):
    given = ("evaluate", "videos", world / "results", "--bench", world / "bench.jsonl", "--out", world / "told")
    assert actavatar(*given, "--metrics", "energy") == 0
    out = capsys.readouterr().out
    assert re.search(r"^movement inside windows over outside: [\d.]+ .*\| 1 of 6 clips$", out, re.M)
    assert out.rstrip().endswith("told/report.html")
    refused(capsys, "The metric is 'beauty'; accepted is energy or sync or csim", *given, "--metrics", "beauty")
    refused(capsys, "The judge needs both --server and --model", *given, "--server", "http://localhost:1/v1")
    refused(capsys, "give --server and --model", *given, "--dry-run")
    nowhere = ("evaluate", "videos", tmp_path / "none", "--bench", world / "bench.jsonl", "--out", tmp_path / "out")
    refused(capsys, "is no folder; accepted is one of videos <id>.mp4", *nowhere)
    refused(capsys, "report.json", *given, "--compare", tmp_path)
    refused(capsys, "nowhere is no folder; accepted is one of weights", *given, "--weights", tmp_path / "nowhere")


def test_all_metrics_but_the_judge_are_the_default(world):
    assert opened.parse_names(None) == tuple(name for name in opened.METRICS if name != "judge")
    assert opened.parse_names("energy, judge,energy") == ("energy", "judge")
    assert len(read_bench(world / "bench.jsonl")) == 6


OTHER = {"name": "iqa", "title": "IQA", "about": "Q-Align", "scores": {"wave": 0.5, "nod": 0.9}, "better": "higher"}


def test_numbers_of_other_programs_stand_beside_ours(world, tmp_path):
    (tmp_path / "iqa.json").write_text(json.dumps(OTHER))
    (tmp_path / "ase.json").write_text(json.dumps(OTHER | {"name": "ase", "scores": {"wave": 4}, "better": ""}))
    files = [tmp_path / "iqa.json", tmp_path / "ase.json"]
    report, told = measured(world, tmp_path / "out", external=files)
    assert told["metrics"]["iqa"]["figures"]["iqa"]["value"] == 0.5  # `nod` has a number, and is no clip
    assert told["metrics"]["iqa"]["backbone"] == "Q-Align" and told["metrics"]["iqa"]["scored"] == 1
    assert report.reasons("rest")["iqa"].reason == "not in the file"
    (tmp_path / "iqa.json").write_text(json.dumps(OTHER | {"scores": {"wave": 0.7}}))
    _, again = measured(world, tmp_path / "again", external=files, compare=tmp_path / "out")
    assert again["comparison"]["figures"]["iqa"]["value"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"name": "fid"}, "there is a metric 'fid' already"),
        ({"scores": {"other": 1}}, "none of its 1 clips is in the bench"),
        ({"scores": {}}, "scores"),
        ({"scores": {"wave": None}}, "wave"),
        ({"name": "Not a name"}, "name"),
        ({"about": ""}, "about"),
    ],
)
def test_a_file_of_another_program_that_does_not_fit_is_one_sentence(world, tmp_path, changes, words):
    (tmp_path / "iqa.json").write_text(json.dumps(OTHER | changes))
    with pytest.raises(InputError, match=words):
        measured(world, tmp_path / "out", external=[tmp_path / "iqa.json"])
