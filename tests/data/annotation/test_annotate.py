"""Annotating a folder of clips over HTTP: every clip ends with a prompt or one reason, and nothing is asked twice."""

import json
import threading

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.annotation.request import PROMPT_VERSION
from data_pipelines.table import Clip, Table, read_manifest, shelved
from tests.data.annotation.clip_folders import make_folder, prompt, rows, run, texts
from tests.data.chat_server import GOOD, ChatServer, Reply, says, says_json
from tests.data.fakes import WordTokenizer, write_clip


@pytest.fixture
def one(tmp_path):
    return make_folder(tmp_path, {"a": {}})


@pytest.mark.slow
def test_every_clip_ends_with_a_prompt_or_one_reason(tmp_path):
    """The clips' transcripts tell the server how to answer; after `/` the second answer."""
    good, act = json.dumps(GOOD), GOOD["phases"][0]
    answers = {
        "good": good,
        "prose": f"Here you are: {good}",
        "overlap": json.dumps(GOOD | {"phases": [act | {"end": 1.2}, GOOD["phases"][1]]}),
        "frames": json.dumps(GOOD | {"phases": [act | {"end": 25}, GOOD["phases"][1] | {"start": 25, "end": 50}]}),
        "past": json.dumps(GOOD | {"phases": [act | {"end": 2.7}]}),
        "half": good[:-30],
        "empty": "",
        "null": None,
        "refusal": "I'm sorry, I can't help with that.",
        "invisible": json.dumps(GOOD | {"phases": [act | {"action": "She shifts both feet a little."}]}),
        "still": json.dumps(GOOD | {"phases": [act | {"start": 1.3, "end": 2.0}]}),
    }
    wanted = {
        "good/": "", "prose/": "", "overlap/": "", "frames/good": "", "past/good": "", "half/prose": "",
        "empty/good": "", "null/good": "", "refusal/good": "",
        "frames/past": "outside the clip", "past/half": "broken JSON", "half/refusal": "refusal", "good/400": "",
        "refusal/empty": "empty", "invisible/invisible": "invisible part", "still/still": "no motion",
        "500/": "no answer", "400/": "request refused", "past/500": "no answer",
    }  # fmt: skip
    motion = [1.0] * 35 + [0.1] * 15
    facts = {"motion.profile": motion, "motion.hand_visible": 1.0, "motion.leg_visible": 0.0, "stage2": True}
    names = {name: name.replace("/", "-") for name in wanted}
    clips = {names[name]: facts | {"asr.transcript": f"<{name}>"} for name in wanted}
    clips |= {"missing": None, "long": facts | {"asr.transcript": "<good/>"}, "unselected": facts | {"stage2": False}}
    folder = make_folder(tmp_path, clips)
    table = read_manifest(folder)
    picked = [
        name == "missing" or selected for name, selected in zip(table.column("id"), table.column("stage2"), strict=True)
    ]
    table.with_columns({"stage2": picked}).write(folder / "manifest.parquet")
    write_clip(folder / "clips" / "long.mp4", frames=505)

    def script(request, _):
        said = texts(request)[-1]
        first, _, second = said[said.index("<") + 1 : said.index(">")].partition("/")
        kind = first if len(request["messages"]) == 2 else second
        return Reply(int(kind), b"no") if kind.isdigit() else says(answers[kind])

    with ChatServer(script) as server:
        report = run(folder, server)
        asked = len(server.requests)
        reasons = {outcome.name: outcome.reason for outcome in report.outcomes}
        again = run(folder, server)
    assert {name: reasons[names[name]] for name in wanted} == wanted
    assert (reasons["missing"], reasons["long"]) == ("no clip", "too long")
    assert len(report.outcomes) == len(table) == sum(report.counts().values())
    assert report.counts()["not selected"] == 1 and report.counts()["made"] == list(wanted.values()).count("")
    stored = rows(folder)
    for name, facts in stored.items():
        made = (folder / "clips" / f"{name}.actions.json").is_file()
        assert made == bool(facts["annotate.accepted"]) == (reasons[name] == "" and name != "unselected")
        assert (facts["annotate.error"] or "") == reasons[name]
    first, second = prompt(folder, "overlap-").phases
    assert first.end == second.start == 1.1  # cut there; what the hands do moves no border of the head's
    # Nothing that was answered is asked again: only the clips without an answer are.
    assert again.counts()["kept"] == report.counts()["made"]
    assert len(server.requests) - asked == 2 + 1 + 2  # two attempts each of 500/ and past/500, one of 400/
    assert rows(folder) == stored


def test_the_second_question_says_what_was_wrong(one):
    wrong = json.dumps(GOOD | {"phases": [GOOD["phases"][0] | {"end": 2.7}]})
    with ChatServer(lambda request, number: says(wrong) if number == 0 else says_json()) as server:
        report = run(one, server)
    _, again = server.requests
    roles = [message["role"] for message in again["messages"]]
    assert roles == ["system", "user", "assistant", "user"] and again["messages"][2]["content"] == wrong
    assert "[0-2.7s]" in again["messages"][3]["content"] and "2, the end of the clip" in again["messages"][3]["content"]
    facts = rows(one)["a"]
    assert (facts["annotate.answers"], facts["annotate.first_faults"]) == (2, ["outside the clip"])
    assert report.rates["reasons"] == {"outside the clip": {"turned back": 1, "won": 1}}
    assert "outside the clip: 1 first answers (100.0 %), 1 won" in str(report)


def test_what_is_recorded(one):
    with ChatServer(lambda *_: says_json()) as server:
        run(one, server, seed=5, key="secret")
    facts = {name.removeprefix("annotate."): value for name, value in rows(one)["a"].items()}
    expected = {
        "accepted": True, "answers": 1, "answered_by": "omni-30b", "body_parts": ["hands", "head"], "confidence": 0.8,
        "fingerprint": "fp1", "idle": 0.0, "model": "omni", "phases": 2, "repairs": [], "seed": 5, "server": server.url,
        "prompt_version": PROMPT_VERSION, "error": None,
    }  # fmt: skip
    assert {name: facts[name] for name in expected} == expected
    (line,) = map(json.loads, shelved(one / "answers", "a", ".jsonl").read_text().split("\n")[1:-1])
    assert json.loads(line["text"]) == GOOD and line["asked"]["seed"] == 5 and line["server"] == server.url
    assert all("secret" not in path.read_text() for path in one.rglob("*.json*"))
    rates = json.loads((one / "annotate.rates.json").read_text())
    assert rates["accepted at once"] == 1 and rates["review"] == ["a"]


def test_tokens_are_summed_over_all_answers_and_kept_with_them(one):
    wrong = json.dumps(GOOD | {"phases": [GOOD["phases"][0] | {"end": 2.7}]})

    def script(_, number):
        body = json.loads((says_json() if number else says(wrong)).body)
        return Reply(body=json.dumps(body | {"usage": {"prompt_tokens": 1500, "completion_tokens": 30}}).encode())

    with ChatServer(script) as server:
        report = run(one, server)
        assert report.rates["tokens"] == {"read": 3000, "written": 60}
        assert "tokens: 3,000 read (3,000 a clip) and 60 written (60 a clip)" in str(report)
        (one / "columns" / "annotate.parquet").unlink()
        again = run(one, server)
        assert len(server.requests) == 2 and again.rates["tokens"] == report.rates["tokens"]
    answers = shelved(one / "answers", "a", ".jsonl")
    old = [json.loads(line) for line in answers.read_text().split("\n") if line]
    answers.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "usage"}) + "\n" for line in old))
    (one / "columns" / "annotate.parquet").unlink()
    with ChatServer(script) as other:
        assert run(one, other).rates["tokens"] == {"read": 0, "written": 0} and not other.requests


def test_other_questions_are_asked_anew(one, monkeypatch):
    with ChatServer(lambda *_: says_json()) as server:
        run(one, server)
        run(one, server)
        assert len(server.requests) == 1
        run(one, server, seed=1)
        assert len(server.requests) == 2
        write_clip(one / "clips" / "a.mp4", frames=50, height=96, width=64, seed=9)
        run(one, server)
        assert len(server.requests) == 3
        monkeypatch.setattr("data_pipelines.annotation.clip_annotator.PROMPT_VERSION", "next")
        run(one, server)
        assert len(server.requests) == 4


def test_a_killed_run_goes_on(tmp_path):
    folder = make_folder(tmp_path, {f"c{k}": {} for k in range(6)})
    other = make_folder(tmp_path / "whole", {f"c{k}": {} for k in range(6)})

    def dies(request, number):
        return says_json() if number < 3 else Reply(401, b"expired")

    with ChatServer(dies) as server, pytest.raises(InputError, match="401"):
        run(folder, server, parallel=1)
    kept = sorted((folder / "answers").rglob("*.jsonl"))
    assert len(kept) == 3 and "annotate.accepted" not in read_manifest(folder).names
    kept[0].write_bytes(kept[0].read_bytes()[:-200])  # torn by a kill
    with ChatServer(lambda *_: says_json()) as server:
        report = run(folder, server)
        assert len(server.requests) == 4 and report.counts() == {"kept": 2, "made": 4}
    with ChatServer(lambda *_: says_json()) as server:
        run(other, server)
    for name in rows(folder):
        texts = [(place / "clips" / f"{name}.actions.json").read_bytes() for place in (folder, other)]
        assert texts[0] == texts[1]
    assert not list(folder.rglob("*.partial"))


def test_clips_are_asked_about_side_by_side_but_no_more_than_allowed(tmp_path):
    folder = make_folder(tmp_path, {f"c{k}": {} for k in range(8)}, frames=25)
    now, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3, timeout=20)

    def script(request, number):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        if number < 3:
            together.wait()
        with lock:
            now -= 1
        return says_json(phases=GOOD["phases"][:1])

    with ChatServer(script) as server:
        run(folder, server, parallel=3, timeout=30.0)
    assert most == 3


def test_prompts_that_came_with_the_video_are_kept(tmp_path):
    folder = make_folder(tmp_path, {"own": {}, "brief": {}})
    own = '{"base": "A man.", "phases": [{"start": 0, "end": 1, "action": "Nods."}]}'
    (folder / "clips" / "own.json").write_text(own)
    (folder / "clips" / "brief.json").write_text(brief := '{"base": "A man speaks.", "phases": []}')
    with ChatServer(lambda *_: says_json()) as server:
        report = run(folder, server)
    assert report.counts() == {"kept": 1, "made": 1} and len(server.requests) == 1
    assert (folder / "clips" / "own.json").read_text() == own and (folder / "clips" / "brief.json").read_text() == brief
    assert len(prompt(folder, "brief").phases) == 2 and not (folder / "clips" / "own.actions.json").exists()


def test_actions_that_no_longer_hold_are_withdrawn(one):
    with ChatServer(lambda *_: says_json()) as server:
        run(one, server)
    assert (one / "clips" / "a.actions.json").is_file()
    with ChatServer(lambda *_: says("no")) as server:
        assert run(one, server, seed=1).counts() == {"skipped: no JSON": 1}
    assert not list((one / "clips").glob("*.json"))


def test_captions_over_which_an_earlier_version_wrote_are_put_back(tmp_path):
    """It had one file for both texts; answers are kept, so that nothing is asked twice."""
    clips = {"told": "A man speaks.", "silent": "", "brief": "", "unselected": "A woman speaks."}
    folder = make_folder(tmp_path, {name: {} for name in clips})
    with ChatServer(lambda *_: says_json()) as server:
        run(folder, server)
        assert len(server.requests) == 4
    for name in clips:
        (folder / "clips" / f"{name}.actions.json").rename(folder / "clips" / f"{name}.json")
    prepared = {"told": "brief", "silent": "none", "brief": "brief", "unselected": "brief"}
    rows = [
        Clip(i, "test", f"{i}.mp4", caption=text, facts={"prepare.prompt": prepared[i], "stage2": i != "unselected"})
        for i, text in clips.items()
    ]
    Table.from_clips(rows).write(folder / "manifest.parquet")
    with ChatServer(lambda *_: says_json()) as server:
        report = run(folder, server)
        assert not server.requests
    assert report.counts() == {"kept": 2, "not selected": 1, "skipped: caption lost": 1}
    assert "remove brief.mp4 beside it" in next(o.detail for o in report.outcomes if o.name == "brief")
    captions = {path.stem: json.loads(path.read_text()) for path in (folder / "clips").glob("*[!s].json")}
    assert captions.pop("brief")["phases"]  # stays what it is until it is made again
    assert captions == {i: {"base": clips[i], "phases": []} for i in ("told", "unselected")}
    assert {path.name for path in (folder / "clips").glob("*.actions.json")} == {
        *("told.actions.json", "silent.actions.json")
    }


def test_borders_are_moved_to_where_the_hands_rest(tmp_path):
    times = (np.arange(50) + 0.5) / 25
    folder = make_folder(tmp_path, {"a": {"motion.profile": np.abs(times - 1.2).tolist()}})
    acts = [phase | {"body_part": "arms"} for phase in GOOD["phases"]]
    with ChatServer(lambda *_: says_json(phases=acts)) as server:
        run(folder, server)
    assert [phase.stamp for phase in prompt(folder, "a").phases] == ["[0-1.2s]", "[1.2-2s]"]
    assert rows(folder)["a"]["annotate.repairs"] == ["snapped"]


def test_idle_time_is_counted(tmp_path):
    folder = make_folder(tmp_path, {"a": {}}, frames=100)
    with ChatServer(lambda *_: says_json(phases=GOOD["phases"][:1])) as server:
        run(folder, server)
    assert rows(folder)["a"]["annotate.idle"] == pytest.approx(3.0, abs=0.05)


def test_texts_too_long_for_the_encoder_are_turned_back(one):
    class Letters(WordTokenizer):
        def encode(self, text, *, add_special_tokens):
            return [ord(letter) for letter in text * 4]

    with ChatServer(lambda *_: says_json()) as server:
        assert run(one, server, tokenizer=Letters()).counts() == {"skipped: too many tokens": 1}


def test_one_odd_clip_is_a_row_and_no_end(tmp_path):
    """A prompt that is none beside the clip, answers that are a folder, a transcript that is a number."""
    folder = make_folder(tmp_path, {"good": {}, "prompt": {}, "answers": {}, "number": {"asr.transcript": 5}})
    (folder / "clips" / "prompt.json").write_text('{"base": ')
    shelved(folder / "answers", "answers", ".jsonl").mkdir(parents=True)
    for _ in range(2):  # and not of a later run either
        with ChatServer(lambda *_: says_json()) as server:
            report = run(folder, server)
        reasons = {outcome.name: outcome.reason for outcome in report.outcomes}
        assert reasons == {"good": "", "number": "", "prompt": "invalid prompt", "answers": "unreadable"}


def test_odd_lines_of_kept_answers_cost_their_question_only(tmp_path):
    folder = make_folder(tmp_path, {"a": {}})
    with ChatServer(lambda *_: says_json()) as server:
        run(folder, server)
    kept = shelved(folder / "answers", "a", ".jsonl")
    good = kept.read_text()
    kept.write_text('5\n[]\n{"key": 3}\n{"key": "x"}\n\0\0\n' + "{" * 3000 + f"\n{good}" + '{"key": "torn')
    with ChatServer(lambda *_: says_json()) as server:
        assert run(folder, server).counts() == {"kept": 1} and not server.requests


def test_a_server_that_refuses_everything_leaves_rows_and_is_not_asked_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("actavatar_jax.chat.attempts.MOST_REFUSALS", 3)
    folder = make_folder(tmp_path, {f"c{k}": {} for k in range(6)}, frames=25)
    with ChatServer(lambda *_: Reply(400, b"no images here")) as server:
        report = run(folder, server, parallel=1)
        assert len(server.requests) == 3
    assert report.counts() == {"skipped: not asked": 3, "skipped: request refused": 3}
    assert {row["annotate.error"] for row in rows(folder).values()} == {"not asked", "request refused"}
    with pytest.raises(InputError, match="nothing could be used of 6: 3 request refused; 3 not asked"):
        report.check()
