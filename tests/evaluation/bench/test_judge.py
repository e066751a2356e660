"""The judge against a server on the loopback device: what it sees, what is accepted of it, what is kept and counted."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.chat import Server, Usage
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.bench import BenchItem, BenchPhase, JudgeSettings, estimate_judge, evaluate_videos
from actavatar_jax.evaluation.bench.judge import PhaseVerdict, read_verdicts
from actavatar_jax.evaluation.bench.judge.frames import shown_frames, shrink
from actavatar_jax.evaluation.bench.judge.metric import BY_PHASE, VALUES
from tests.commands import actavatar
from tests.data.chat_server import ChatServer, Reply, says
from tests.evaluation.bench.small_bench import WINDOWS, make_bench, make_results

pytest.importorskip("httpx2")
GOOD = {"observed": "He moves.", "ao": 1, "aa": 8, "tc": 7, "aq": 6, "hc": 5}


def windows_asked(request):
    """What the judge reads of the phases: their windows."""
    text = request["messages"][1]["content"][-1]["text"]
    return [(float(a), float(b)) for a, b in re.findall(r"^\d+\. from ([\d.]+) to ([\d.]+) s:", text, re.M)]


def answer(request, **changes):
    """The windows themselves as what is observed."""
    phases = [GOOD | {"observed_start": a, "observed_end": b} | changes for a, b in windows_asked(request)]
    return {"phases": phases, "clip_comment": "Fine."}


def counted(content, prompt=100, written=10):
    body = json.loads(says(content).body) | {"usage": {"prompt_tokens": prompt, "completion_tokens": written}}
    return Reply(body=json.dumps(body).encode())


def good(request, number):
    return counted(json.dumps(answer(request)))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bench and videos of it, in which `lean` is missing."""
    root = tmp_path_factory.mktemp("judged")
    make_bench(root)
    make_results(root / "results", {name: own for name, own in WINDOWS.items() if name != "lean"})
    return root


def settings(server, **changes):
    told = Server(server.url, "judge-1", temperature=0.4, timeout=5.0, backoff=0.01, attempts=2)
    return JudgeSettings(told, **{"runs": 2, "parallel": 2, **changes})


def judged(world, out, script, **changes):
    """The report, its JSON, and what the server was asked."""
    with ChatServer(script) as server:
        options = {"metrics": "judge", "judge": settings(server, **changes), "progress": False}
        report = evaluate_videos(world / "results", world / "bench.jsonl", out, **options)
    return report, json.loads((out / "report.json").read_text())["metrics"]["judge"], server.requests


def test_the_judge_sees_frames_with_times_the_reference_and_the_windows_and_nothing_else(world, tmp_path):
    _, _, requests = judged(world, tmp_path, good, runs=1, parallel=1)
    request = next(one for one in requests if len(windows_asked(one)) == 2)
    assert windows_asked(request) == WINDOWS["nod"]
    assert request["model"] == "judge-1" and request["temperature"] == 0.4
    system, user = request["messages"]
    kinds = [part["type"] for part in user["content"]]
    assert kinds == ["text", "image_url"] * 9 + ["text"]  # the reference, and eight frames of a second
    times = [part["text"] for part in user["content"][2:-1:2]]
    assert times == [f"t = {number / 25:.2f} s" for number in (0, 3, 6, 9, 13, 16, 19, 22)]
    uri = user["content"][3]["image_url"]["url"]
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    assert picture.size == (96, 64)
    said = json.dumps([system, [part for part in user["content"] if part["type"] == "text"]])
    for word in ("nod", "results", "mp4", "grey room", "Hello", "hands", "gesture"):
        assert word not in said.replace("the hands: fingers", "").replace("hand is", "")
    schema = request["response_format"]["json_schema"]["schema"]
    items = schema["properties"]["phases"]
    assert items["minItems"] == items["maxItems"] == 2
    assert next(iter(items["items"]["properties"])) == "observed" and len(items["items"]["required"]) == 8


def test_runs_differ_in_seed_and_in_the_frames_that_are_seen(world, tmp_path):
    _, _, requests = judged(world, tmp_path, good, runs=5, parallel=1)
    assert len(requests) == 4 * 5  # the clip without windows is not asked about
    assert sorted({request["seed"] for request in requests}) == [0, 1, 2, 3, 4]
    times = {r["seed"]: [p["text"] for p in r["messages"][1]["content"][2:-1:2]] for r in requests}
    assert len(set(map(tuple, times.values()))) == 5
    order = dict.fromkeys(tuple(windows_asked(request)) for request in requests)
    assert list(order) != [tuple(own) for name, own in WINDOWS.items() if name not in ("lean", "rest")]


def test_shown_frames_are_eight_a_second_and_later_by_a_fortieth_in_each_run():
    first, third = shown_frames(125, 0), shown_frames(125, 2)
    assert len(first) == 40 and first[:3] == [0, 3, 6] and first[-1] == 122
    assert third == [min(124, int(np.floor((k / 8 + 2 / 40) * 25 + 0.5))) for k in range(40)]
    assert shown_frames(125, 5) == first
    assert shrink(np.zeros((1536, 100, 3), np.uint8)).shape == (768, 50, 3)
    assert shrink(np.zeros((90, 60, 3), np.uint8)).shape == (90, 60, 3)


def test_figures_are_means_over_phases_clips_and_runs(world, tmp_path):
    """The second phase of `nod` is not seen in the second run, so that of 2 runs x 5 phases 9 are seen."""

    def script(request, number):
        found = answer(request)
        if len(found["phases"]) == 2 and request["seed"] == 1:
            found["phases"][1] |= {"ao": 0, "aa": 2, "tc": 0, "hc": None, "observed_start": None, "observed_end": None}
        return counted(json.dumps(found))

    report, told, _ = judged(world, tmp_path, script)
    values = {name: figure["value"] for name, figure in told["figures"].items()}
    assert values["judge_hit"] == pytest.approx(9 / 10) and values["judge_majority"] == pytest.approx(4 / 5)
    assert values["judge_aa"] == pytest.approx((8 + (8 * 3 + 5) / 4) / 2)
    assert values["judge_tc"] == pytest.approx((7 + (7 * 3 + 3.5) / 4) / 2) and values["judge_aq"] == 6
    assert values["judge_hc"] == 5
    assert values["judge_iou"] == pytest.approx(9 / 10) and values["judge_satisfied"] == pytest.approx(9 / 10)
    assert values["judge_boundary"] == 0
    deviation = told["deviation_over_runs"]
    assert deviation["judge_hit"] == pytest.approx(np.std([1, 4 / 5], ddof=1)) and deviation["judge_aq"] == 0
    figure = told["figures"]["judge_aa"]
    assert figure["low"] < figure["value"] <= figure["high"] == 8
    assert report.row("nod")["judge_aa"] == pytest.approx((8 + 5) / 2) and report.row("wave")["judge_aa"] == 8
    assert told["calls"] == {"planned": 8, "valid": 8, "coverage": 1.0, "complete": True}
    assert (told["scored"], told["clips"], told["not_scored"]) == (4, 6, {"missing": 1, "no phases": 1})
    assert told["usage"] == {"prompt_tokens": 800, "completion_tokens": 80}
    assert "standard deviation over runs: H@S 0.141" in report.table()
    assert "800 tokens read and 80 written" in report.table()
    assert set(BY_PHASE) < set(VALUES)


def test_answers_are_kept_raw_and_asked_for_once(world, tmp_path):
    _, told, requests = judged(world, tmp_path, good)
    assert len(requests) == 8 and told["answers_asked_now"] == 8
    kept = [json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*.json")]
    kept = [one for one in kept if "answer" in one]
    assert len(kept) == 8 and json.loads(kept[0]["answer"]["text"])["clip_comment"] == "Fine."
    assert kept[0]["asked"]["model"] == "judge-1" and kept[0]["asked"]["prompt_version"] == told["prompt_version"]
    _, again, requests = judged(world, tmp_path, good)
    assert requests == [] and again["answers_asked_now"] == 0
    assert again["figures"] == told["figures"] and again["usage"] == told["usage"]
    _, _, requests = judged(world, tmp_path, good, runs=3)
    assert [request["seed"] for request in requests] == [2] * 4


def test_an_answer_that_cannot_be_used_is_asked_for_again_and_after_three_times_counts_as_missing(world, tmp_path):
    """`wave` is answered well the third time, `point` never; what was answered badly is kept as well."""

    def script(request, number):
        asked = windows_asked(request)
        if asked == WINDOWS["wave"] and request["seed"] < 2000:
            return counted("I would rather not.")
        return counted(json.dumps(answer(request, **({"aa": 11} if asked == WINDOWS["point"] else {}))))

    report, told, requests = judged(world, tmp_path, script, runs=1)
    seeds = [r["seed"] for r in requests if windows_asked(r) == WINDOWS["point"]]
    assert seeds == [0, 1000, 2000, 3000]
    assert [r["seed"] for r in requests if windows_asked(r) == WINDOWS["wave"]] == [0, 1000, 2000]
    assert told["calls"] == {"planned": 4, "valid": 3, "coverage": 0.75, "complete": False}
    assert "3 of 4 calls have a usable answer: the result is incomplete" in report.table()
    reason = report.reasons("point")["judge"]
    assert reason.reason == "no usable answer" and "phase 1: aa is 11, accepted is 0 to 10" in reason.detail
    [missing] = told["missing_runs"]
    assert (missing["id"], missing["run"]) == ("point", 0)
    assert told["usage"]["prompt_tokens"] == 900  # of all nine answers
    _, again, requests = judged(world, tmp_path, script, runs=1)
    assert requests == [] and again["calls"] == told["calls"]


def test_a_server_that_fails_leaves_runs_missing_and_is_asked_the_next_time(world, tmp_path):
    def script(request, number):
        if windows_asked(request) == WINDOWS["count"]:
            return Reply(status=500, body=b"overloaded")
        return good(request, number)

    report, told, _ = judged(world, tmp_path, script, runs=1)
    assert told["calls"]["valid"] == 3 and "no answer: 2 attempts" in report.reasons("count")["judge"].detail
    _, told, requests = judged(world, tmp_path, good, runs=1)
    assert len(requests) == 1 and told["calls"]["valid"] == 4


def test_a_server_that_cannot_be_asked_makes_the_judge_unavailable_and_the_others_go_on(world, tmp_path):
    with ChatServer(lambda request, number: Reply(status=401, body=b"who are you")) as server:
        options = {"metrics": "judge,energy", "judge": settings(server), "progress": False}
        report = evaluate_videos(world / "results", world / "bench.jsonl", tmp_path, **options)
    told = report.to_dict()["metrics"]
    assert not told["judge"]["available"] and "answers 401 to model judge-1" in told["judge"]["reason"]
    assert told["energy"]["scored"] == 4


def test_what_it_will_take_is_told_before(world, tmp_path, capsys):
    with ChatServer(good) as server:
        judge = settings(server, runs=5, input_price=2.0, output_price=10.0)
        found = estimate_judge(world / "results", world / "bench.jsonl", tmp_path, judge, progress=False)
        assert (found.calls, found.kept) == (20, 0)
        pictures = 5 * 4 * 9 * 258
        assert pictures < found.usage.prompt_tokens < 1.5 * pictures + 20 * 800
        assert found.cost == pytest.approx(judge.cost(found.usage)) and found.cost > 0.1
        assert judge.cost(Usage(10**6, 10**5)) == pytest.approx(3.0)
        given = ("evaluate", "videos", world / "results", "--bench", world / "bench.jsonl", "--out", tmp_path)
        given += ("--metrics", "judge", "--server", server.url, "--model", "judge-1", "--runs", 1)
        assert actavatar(*given, "--dry-run") == 0
        assert server.requests == []
        assert re.search(
            r"^judge: 4 calls, 0 answered already; the others: about [\d,]+ tokens", capsys.readouterr().out
        )
        assert actavatar(*given) == 0
        assert len(server.requests) == 4 and "H@S: 1 (1 to 1) | 4 of 6 clips" in capsys.readouterr().out
        assert actavatar(*given, "--dry-run") == 0
        assert "4 calls, 4 answered already; the others: about 0 tokens" in capsys.readouterr().out


# ---- answers


ITEM = BenchItem(
    "a",
    Path("a.png"),
    Path("a.wav"),
    "A man.",
    (BenchPhase(0.0, 2.0, "Waves."), BenchPhase(2.0, 4.0, "Nods.")),
    duration=5.0,
)
SEEN = [GOOD | {"observed_start": 0.2, "observed_end": 1.8}, GOOD | {"observed_start": 2, "observed_end": 4}]


def text(*changes):
    return json.dumps({"phases": [seen | change for seen, change in zip(SEEN, changes, strict=True)]})


def test_an_answer_is_found_among_words():
    found = read_verdicts(f"Here it is:\n```json\n{text({}, {'hc': None})}\n```", ITEM)
    assert found[0] == PhaseVerdict("He moves.", 0.2, 1.8, 1.0, 8.0, 7.0, 6.0, 5.0) and found[1].hc is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds no JSON object with the key phases"),
        ("nothing", "holds no JSON object with the key phases"),
        (json.dumps({"phases": SEEN[:1]}), "is about 1 phases; accepted are the 2 asked about"),
        (text({"aa": "8"}, {}), r"phases\[0\]\.aa is '8', accepted is a number"),
        (text({"tc": 10.5}, {}), "phase 1: tc is 10.5, accepted is 0 to 10"),
        (text({}, {"hc": -1}), "phase 2: hc is -1, accepted is 0 to 10"),
        (text({"ao": 0.5}, {}), "phase 1: ao is 0.5, accepted is 0 or 1"),
        (text({"ao": 0}, {}), "phase 1: aa is 8 where ao is 0, accepted is up to 2"),
        (text({"observed": " "}, {}), "phase 1: observed is empty"),
        (text({"observed_end": None}, {}), "phase 1: observed_start and observed_end"),
        (text({"observed_start": 1.9}, {}), r"phase 1: it is observed from 1\.9 to 1\.8 s"),
        (text({"observed_end": 6}, {}), "phase 1: it is observed from 0.2 to 6 s, accepted is a time within the clip"),
        (text({}, {"observed_start": 0.1, "observed_end": 1.6}), "phase 2: ao is 1 though the action is not observed"),
        (text({"observed_start": None, "observed_end": None}, {}), "phase 1: ao is 1 though the action is not"),
    ],
)
def test_answers_that_contradict_the_question_or_themselves_are_refused(content, words):
    with pytest.raises(InputError, match=words):
        read_verdicts(content, ITEM)


def test_times_become_overlap_satisfaction_and_boundary_error():
    verdict, phase = read_verdicts(text({}, {}), ITEM)[0], ITEM.phases[0]
    assert verdict.iou(phase) == pytest.approx(1.6 / 2) and verdict.boundary_error(phase) == pytest.approx(0.2)
    assert verdict.satisfied(phase) == 1
    late = replace(verdict, observed_start=1.0, observed_end=3.0)
    assert late.iou(phase) == pytest.approx(1 / 3) and late.satisfied(phase) == 0
    assert late.boundary_error(phase) == pytest.approx(1)
    assert replace(verdict, observed_end=2.25).satisfied(phase) == 1
    unseen = replace(verdict, observed_start=None, observed_end=None, ao=0.0, aa=0.0)
    assert (unseen.iou(phase), unseen.satisfied(phase), unseen.boundary_error(phase)) == (0, 0, None)
    apart = replace(verdict, observed_start=3.0, observed_end=4.0)
    assert apart.iou(phase) == 0
