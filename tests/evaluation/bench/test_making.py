"""A bench made anew: its composition, what the model is asked and may answer, what is spoken, kept and left out."""

import json
import os
import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import scipy.io.wavfile

pytest.importorskip("httpx2")
pytest.importorskip("jinja2")

from actavatar_jax.chat import Server
from actavatar_jax.errors import InputError, Skip
from actavatar_jax.evaluation.bench import (
    AskingSettings,
    Composition,
    Speaker,
    estimate_making,
    make_bench,
    read_bench,
)
from actavatar_jax.evaluation.bench.making import CATEGORIES, Plan, read_texts
from actavatar_jax.evaluation.bench.making.plans import draw_windows
from tests.data.chat_server import ChatServer, Reply, says
from tests.evaluation.bench.making_bench import (
    TALK,
    make_portraits,
    make_program,
    task_of,
    texts_for,
    windows_of,
    writes,
)

# ---- composition

PEOPLE = [Path(f"{number}.png") for number in range(30)]


def test_a_composition_is_balanced_and_the_same_each_time():
    plans = Composition(200, ("en", "zh"), seed=7).plan(PEOPLE)
    assert Counter(len(plan.windows) for plan in plans) == {2: 140, 1: 20, 3: 40}
    assert set(Counter(plan.category for plan in plans).values()) == {25} and len(CATEGORIES) == 8
    assert Counter(plan.language for plan in plans) == {"en": 100, "zh": 100}
    assert set(Counter((plan.category, plan.language) for plan in plans).values()) == {12, 13}
    assert set(Counter(plan.portrait for plan in plans).values()) == {6, 7}
    assert len({plan.id for plan in plans}) == 200 and plans[3].id == "0003_counting"
    assert Composition(200, ("en", "zh"), seed=7).plan(PEOPLE) == plans
    others = Composition(200, ("en", "zh"), seed=8).plan(PEOPLE)
    assert sum(a.windows == b.windows for a, b in zip(plans, others, strict=True)) < 10


def test_more_items_are_the_same_ones_and_others():
    """Whoever tries ten first pays for none of them twice."""
    assert Composition(10).plan(PEOPLE) == Composition(35).plan(PEOPLE)[:10]


def test_windows_are_on_the_grid_apart_and_long_enough_and_take_every_place():
    firsts, touching = set(), 0
    for seed in range(600):
        windows = draw_windows(1 + seed % 3, Random(seed))
        tenths = [round(10 * time) for window in windows for time in window]
        assert [tenth / 10 for tenth in tenths] == [time for window in windows for time in window]
        assert tenths == sorted(tenths) and tenths[0] >= 0 and tenths[-1] <= 50
        assert all(end - start >= 8 for start, end in zip(tenths[::2], tenths[1::2], strict=True))
        firsts.add(tenths[0])
        touching += any(a == b for a, b in zip(tenths[1::2], tenths[2::2], strict=False))
    assert len(firsts) > 25 and touching > 20


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"items": 0}, "number of items is 0; accepted is a whole number from 1"),
        ({"languages": ("en", "en")}, "accepted is each of them once"),
        ({"languages": ("",)}, "accepted are names such as en"),
    ],
)
def test_compositions_that_cannot_be(given, words):
    with pytest.raises(InputError, match=words):
        Composition(**given)


# ---- answers

PLAN = Plan(0, Path("a.png"), "pointing", "en", ((0.5, 2.0), (2.5, 4.0)))
ACTIONS = [
    {"action": "She points to the left.", "body_part": "hands"},
    {"action": "She nods twice.", "body_part": "head"},
]
GOOD = {"base": "A woman speaks in an office.", "transcript": "Good morning &amp; welcome.", "actions": ACTIONS}


def test_texts_become_clean_phases_in_their_windows():
    texts = read_texts(f"Here:\n{json.dumps(GOOD)}", PLAN)
    assert texts.transcript == "Good morning & welcome."
    assert [(p.start, p.end, p.action, p.body_part) for p in texts.phases] == [
        (0.5, 2.0, "She points to the left.", "hands"),
        (2.5, 4.0, "She nods twice.", "head"),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions": ACTIONS[:1]}, "has 1 actions; accepted are 2, as asked"),
        ({"actions": [ACTIONS[0], ACTIONS[0]]}, "actions 1 and 2 are alike"),
        ({"actions": [ACTIONS[0], {"action": "Nods.", "body_part": "head"}]}, "action 2 has 1 words .* 3 to 30 words"),
        ({"actions": [ACTIONS[0], ACTIONS[1] | {"body_part": "tail"}]}, "action 2 is 'tail', accepted is one of hands"),
        ({"actions": [ACTIONS[0], {"action": "[2-3s] She nods twice.", "body_part": "head"}]}, "phase 2 holds a time"),
        (
            {"actions": [ACTIONS[0], {"action": 3, "body_part": "head"}]},
            r"actions\[1\]\.action is 3\.0, accepted is text",
        ),
        ({"base": "A woman."}, "the base has 2 words"),
        ({"base": 'base: "A woman speaks in an office."'}, "begins as JSON or YAML does"),
        ({"transcript": " ... "}, "the transcript is empty"),
        ({"transcript": "-rf is an option"}, "begins with a hyphen"),
        ({"transcript": "long " * 50}, "the transcript has 249 letters, accepted are up to 200"),
    ],
)
def test_answers_that_fit_no_item_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        read_texts(json.dumps(GOOD | changes), PLAN)
    with pytest.raises(InputError, match="no JSON object with the key actions"):
        read_texts("I would rather not.", PLAN)


# ---- speech


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("say {out}", "accepted is a command with {text} and {out} in it"),
        ("", "accepted is a command"),
        ("say '{text} {out}", "No closing quotation; accepted is a command"),
        ("no_such_program {text} {out}", "'no_such_program', is not there or cannot be run"),
    ],
)
def test_programs_that_cannot_speak(command, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Speaker(command)


def test_a_text_is_one_word_of_the_command_whatever_is_in_it(tmp_path):
    """Neither a shell nor a placeholder in the text is followed."""
    speaker = Speaker(make_program(tmp_path))
    text = "x; touch {out}; $(id) 'y"
    assert speaker.speak(text, "en", tmp_path / "a" / "b.wav") == pytest.approx(len(text) / 10)
    rate, sound = scipy.io.wavfile.read(tmp_path / "a" / "b.wav")
    assert (rate, len(sound)) == (8000, 800 * len(text))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("false {text} {out}", "ended with code 1: nothing"),
        ("true {text} {out}", "ended well and wrote no file"),
        ("cp /dev/null {out} {text}", "ended with code 1"),
        ("cp {text} {out}", "speech.wav"),
    ],
)
def test_a_program_that_fails_is_told_in_one_sentence(tmp_path, command, words):
    """The last one writes what is no sound."""
    (tmp_path / "text").write_text("no sound")
    with pytest.raises(Skip, match=words):
        Speaker(command).speak(str(tmp_path / "text"), "en", tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()


# ---- all of it


def made(tmp_path, script, items=4, languages=("en",), **changes):
    """The bench, and what the server was asked."""
    with ChatServer(script) as server:
        told = Server(server.url, "writer-1", temperature=0.7, timeout=5.0, backoff=0.01, attempts=1)
        given = (make_portraits(tmp_path / "portraits"), tmp_path / "bench", Speaker(make_program(tmp_path)))
        bench = make_bench(*given, AskingSettings(told, **changes), Composition(items, languages), progress=False)
    return bench, server.requests


def test_a_bench_is_made_and_nothing_is_asked_or_spoken_twice(tmp_path, monkeypatch):
    bench, requests = made(tmp_path, writes, languages=("en", "zh"))
    assert bench.problems == {} and len(requests) == 4
    items = read_bench(tmp_path / "bench" / "draft.jsonl")
    assert items == bench.items
    plans = Composition(4, ("en", "zh")).plan(sorted((tmp_path / "portraits").iterdir()))
    assert [(item.id, item.windows, item.category, item.language) for item in items] == [
        (plan.id, list(plan.windows), plan.category, plan.language) for plan in plans
    ]
    assert all(item.image.is_file() and item.audio.is_file() and item.transcript == TALK for item in items)
    assert len({item.image for item in items}) == 3 and {item.seed for item in items} == {0, 1, 2, 3}
    asked = {task_of(request): request for request in requests}
    for plan in plans:
        (task,) = (task for task in asked if f"of this kind: {plan.category}." in task)
        assert windows_of(asked[task]) == list(plan.windows) and f'the language "{plan.language}"' in task
        schema = asked[task]["response_format"]["json_schema"]["schema"]["properties"]["actions"]
        assert schema["minItems"] == schema["maxItems"] == len(plan.windows)
    assert requests[0]["messages"][1]["content"][0]["type"] == "image_url"
    monkeypatch.setattr(Speaker, "speak", None)
    again, requests = made(tmp_path, writes, languages=("en", "zh"))
    assert again.items == items and requests == [] and again.usage.prompt_tokens == 0


def test_what_cannot_be_used_is_asked_for_again_with_what_was_wrong(tmp_path, monkeypatch):
    """The first answer has too much to say, the second an empty base."""

    def script(request, number):
        turns = len(request["messages"])
        told = request["messages"][-1]["content"] if turns > 2 else ""
        if turns == 2:
            return says(json.dumps(texts_for(request, transcript=TALK + TALK)))
        if "takes 6.2 s when it is spoken" in told:
            return says(json.dumps(texts_for(request, base="")))
        assert "the base has 0 words" in told
        return writes(request, number)

    bench, requests = made(tmp_path, script, items=1)
    assert len(bench.items) == 1 and [len(request["messages"]) for request in requests] == [2, 4, 4]
    assert [request["seed"] for request in requests] == [0, 1, 2]
    monkeypatch.setattr(Speaker, "speak", None)  # the wav is still the one that was reviewed
    again, requests = made(tmp_path, script, items=1)
    assert again.items == bench.items and requests == []


def test_an_item_that_fails_is_told_and_asked_for_anew_by_the_next_run(tmp_path):
    def script(request, number):
        if "kind: pointing." in task_of(request):
            return says("No.")
        if "kind: counting." in task_of(request):
            return says(json.dumps(texts_for(request, transcript="This is unspeakable, I am afraid.")))
        if "kind: one-hand" in task_of(request):
            return Reply(status=400, body=b"too hot")
        return writes(request, number)

    bench, requests = made(tmp_path, script)
    assert [item.id for item in bench.items] == ["0001_two-hand-gesture"]
    assert bench.problems["0002_pointing"].startswith("no usable answer: The answer holds no JSON object")
    assert (
        bench.problems["0003_counting"]
        == "no speech: the program that speaks ended with code 1: no voice for this text"
    )
    assert bench.problems["0000_one-hand-gesture"].startswith("request refused: status 400: too hot")
    assert len(requests) == 1 + 1 + 1 + 3
    assert "1 of 4 items made\n  0000_one-hand-gesture: request refused" in bench.table()
    with pytest.raises(InputError, match="3 of 4 items could not be made; run again to ask for them anew:"):
        bench.check()
    bench, requests = made(tmp_path, writes)
    assert sorted(bench.problems) == ["0003_counting"]  # its answer is there: another program is to speak it
    assert len(requests) == 2 and {len(request["messages"]) for request in requests} == {2, 4}


def test_the_estimate_asks_nothing_and_counts_what_is_kept(tmp_path):
    made(tmp_path, writes, items=2)
    server = Server("http://127.0.0.1:9/v1", "writer-1", temperature=0.7)
    given = (tmp_path / "portraits", tmp_path / "bench", Speaker(make_program(tmp_path)))
    estimate = estimate_making(*given, AskingSettings(server, 1, 2.0, 10.0), Composition(10))
    assert (estimate.calls, estimate.kept) == (10, 2)
    assert 8 * 500 < estimate.usage.prompt_tokens < 8 * 1200 and estimate.cost > 0.01
    other = estimate_making(*given, AskingSettings(Server(server.url, "writer-2")), Composition(10))
    assert other.kept == 0


def test_what_is_wrong_before_anything_is_asked(tmp_path):
    given = (tmp_path / "bench", Speaker(make_program(tmp_path)))
    settings = AskingSettings(Server("http://127.0.0.1:9/v1", "m"))
    with pytest.raises(InputError, match="is no folder; accepted is one of portraits"):
        estimate_making(tmp_path / "none", *given, settings, Composition())
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"has no portrait; accepted are \.png and \.jpg"):
        estimate_making(tmp_path / "none", *given, settings, Composition())
    portraits = make_portraits(tmp_path / "portraits")
    (portraits / "torn.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"have problems: .*torn\.png is damaged or not a picture"):
        estimate_making(portraits, *given, settings, Composition())
    (portraits / "torn.png").rename(portraits / os.fsdecode(b"caf\xe9.png"))
    with pytest.raises(InputError, match=r"the name of caf\\udce9\.png is not UTF-8"):
        estimate_making(portraits, *given, settings, Composition())
    (portraits / os.fsdecode(b"caf\xe9.png")).unlink()
    one_voice = Speaker("cat {text} {out}")
    with pytest.raises(InputError, match=r"several languages; put \{language\} into its command"):
        estimate_making(portraits, tmp_path, one_voice, settings, Composition(4, ("en", "zh")))
