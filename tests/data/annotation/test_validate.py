"""Every kind of bad answer: put right where that is safe, else turned back for one reason."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.chat import Answer
from data_pipelines.annotation.checks import CHECKS
from data_pipelines.annotation.scene import Scene
from data_pipelines.annotation.schema import SHORTEST_ACT
from data_pipelines.annotation.validate import judge_answer
from tests.data.chat_server import GOOD
from tests.data.fakes import WordTokenizer

SCENE = Scene(4.0)


def act(start, end, action="She raises the right hand slowly.", body_part="hands", **changes):
    return {"start": start, "end": end, "action": action, "body_part": body_part, "speech": ""} | changes


def answer(text=None, finish="stop", **changes) -> Answer:
    return Answer(json.dumps(GOOD | changes) if text is None else text, finish, "omni", None)


def windows(verdict):
    return [(act.start, act.end) for act in verdict.draft.acts]


def reasons(verdict):
    assert verdict.draft is None
    return {fault.reason for fault in verdict.faults}


def test_a_good_answer_passes_untouched():
    verdict = judge_answer(answer(), SCENE)
    assert verdict.faults == () == verdict.repairs
    assert verdict.draft.to_prompt().to_dict() == {
        "base": GOOD["base"],
        "phases": [{key: phase[key] for key in ("start", "end", "action")} for phase in GOOD["phases"]],
    }


@pytest.mark.parametrize(
    "text",
    [
        f"Sure, here it is:\n```json\n{json.dumps(GOOD, indent=1)}\n```\nAnything else?",
        f'<think>{{"phases": "a few"}} or {{so}}</think>{json.dumps(GOOD)}',
        f"{json.dumps(GOOD)} Done {{}}",
    ],
)
def test_prose_around_json_is_left_out(text):
    verdict = judge_answer(answer(text), SCENE)
    assert verdict.repairs == ("prose",) and len(verdict.draft.acts) == 2


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ("", "stop", "empty"),
        ("  \n", "length", "empty"),
        ("I'm sorry, but I can't describe people.", "stop", "refusal"),
        ("anything", "content_filter", "refusal"),
        ("She waves from 0 to 2 s.", "stop", "no JSON"),
        ("[1, 2]", "stop", "no JSON"),
        (json.dumps(GOOD)[:-40], "stop", "broken JSON"),
        (json.dumps(GOOD)[:-40], "length", "cut off"),
        ("{" * 10_000, "stop", "broken JSON"),
        ('{"base": ' + "[" * 100_000, "stop", "broken JSON"),
        (json.dumps(GOOD).replace("0.8", "NaN"), "stop", "broken JSON"),
        (json.dumps(GOOD["phases"][0]), "stop", "broken JSON"),
        (json.dumps({"answer": GOOD}), "stop", "broken JSON"),
    ],
)
def test_what_holds_no_usable_json(text, finish, reason):
    assert reasons(judge_answer(answer(text, finish), SCENE)) == {reason}


@pytest.mark.parametrize(
    "changes",
    [
        {"base": 3},
        {"phases": []},
        {"phases": [act(i / 2, i / 2 + 0.5) for i in range(7)]},
        {"phases": [act("0", 2)]},
        {"phases": [act(0, None)]},
        {"phases": [act(0, 2, body_part="tail")]},
        {"phases": [{"start": 0, "end": 2, "action": "She waves."}]},
        {"phases": [act(0, 2) | {"mood": "happy"}]},
        {"confidence": 2},
        {"remark": "none"},
    ],
)
def test_the_wrong_shape_names_the_place(changes):
    verdict = judge_answer(answer(**changes), SCENE)
    assert reasons(verdict) == {"wrong shape"} and all(f.message.startswith("$") for f in verdict.faults)


def test_small_slips_are_put_right():
    verdict = judge_answer(answer(phases=[act(2.04, 4.2, "She nods two times."), act(0.0, 1.96)]), SCENE)
    assert windows(verdict) == [(0.0, 2.0), (2.0, 4.0)] and verdict.repairs == ("rounded", "clamped")


def test_an_overlap_is_cut_in_the_middle():
    verdict = judge_answer(answer(phases=[act(0, 2), act(1.6, 4, "She nods two times.")]), SCENE)
    assert windows(verdict) == [(0.0, 1.8), (1.8, 4.0)] and verdict.repairs == ("overlap",)


@pytest.mark.parametrize("second", [(0.5, 1.5), (0.2, 2.4), (0.0, 2.0)])
def test_an_act_inside_another_is_no_slip(second):
    verdict = judge_answer(answer(phases=[act(0, 2), act(*second, "She nods two times.")]), SCENE)
    assert "overlapping windows" in reasons(verdict)


def test_the_same_act_twice_in_a_row_is_one():
    verdict = judge_answer(
        answer(phases=[act(0, 1, speech="a"), act(1.2, 2, "She raises the right hand, slowly!")]), SCENE
    )
    assert windows(verdict) == [(0.0, 2.0)] and verdict.repairs == ("merged",)
    assert reasons(judge_answer(answer(phases=[act(0, 1), act(3, 4)]), SCENE)) == {"duplicated action"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"phases": [act(0, 25), act(25, 100, "She nods two times.")]}, "frames for seconds"),
        ({"phases": [act(0, 5), act(5, 20, "She nods two times.")]}, "frames for seconds"),  # of the frames shown
        ({"phases": [act(0, 4.5)]}, "outside the clip"),
        ({"phases": [act(0, 1e999)]}, "outside the clip"),
        ({"phases": [act(-1, 2)]}, "outside the clip"),
        ({"phases": [act(0, 10**400)]}, "outside the clip"),
        ({"phases": [act(1, 1.5)]}, "short window"),
        ({"phases": [act(3, 1)]}, "short window"),
        ({"base": "A woman speaks."}, "text length"),
        ({"base": "A woman " + "speaks " * 60}, "text length"),
        ({"base": " ".join(["x" * 60] * 20)}, "text length"),
        ({"phases": [act(0, 2, "She waves.")]}, "text length"),
        ({"base": GOOD["base"] + " Then she laughs."}, "time in the base"),
        ({"base": GOOD["base"] + " She waves for 2 seconds."}, "time in the base"),
        ({"phases": [act(0, 2, "She waves [0-1s] with one hand.")]}, "stamp in a text"),
    ],
)
def test_what_cannot_be_is_turned_back(changes, reason):
    verdict = judge_answer(answer(json.dumps(GOOD | changes).replace("Infinity", "1e999")), SCENE)
    assert reasons(verdict) == {reason}, verdict.faults


@pytest.mark.parametrize(
    "base", ["The second woman from the left, in a later-medieval costume," + " calm" * 12 + " as before", GOOD["base"]]
)
def test_words_that_only_look_like_time(base):
    found = judge_answer(answer(base=base.replace("later-", "late ")), SCENE)
    assert found.draft is not None, found.faults


def test_parts_out_of_sight():
    phases = [act(0, 1, "She crosses her legs and points."), act(1, 2, "She opens both palms widely.")]
    assert judge_answer(answer(phases=phases), SCENE).draft is not None
    verdict = judge_answer(answer(phases=phases), Scene(4.0, hidden=frozenset({"legs"})))
    assert reasons(verdict) == {"invisible part"} and len(verdict.faults) == 1 and "legs" in verdict.faults[0].message
    assert len(judge_answer(answer(phases=phases), Scene(4.0, hidden=frozenset({"legs", "hands"}))).faults) == 2


def test_acts_where_nothing_moves():
    motion = np.r_[np.full(50, 1.0), np.linspace(0.01, 0.02, 50)]  # hands move in the first two seconds only
    moving, still = act(0, 2), act(2.2, 3.2, "She lifts both arms high.", "arms")
    assert judge_answer(answer(phases=[moving]), Scene(4.0, motion)).draft is not None
    verdict = judge_answer(answer(phases=[moving, still]), Scene(4.0, motion))
    assert reasons(verdict) == {"no motion"} and "2.2-3.2" in verdict.faults[0].message
    nod = still | {"action": "She nods her head twice.", "body_part": "head"}  # which the profile does not measure
    assert judge_answer(answer(phases=[moving, nod]), Scene(4.0, motion)).draft is not None
    assert (
        judge_answer(answer(phases=[moving, still]), Scene(4.0, np.zeros(100))).draft is not None
    )  # no hands in sight at all


def test_of_hands_that_are_not_seen_nothing_is_said():
    """NaN is neither rest nor motion: an act there is not turned back, and one in a rest still is."""
    motion = np.r_[np.full(50, 1.0), np.linspace(0.01, 0.02, 25), np.full(25, np.nan)]
    unseen, still = act(3.1, 3.9), act(2.1, 2.9)
    assert judge_answer(answer(phases=[unseen]), Scene(4.0, motion)).draft is not None
    assert reasons(judge_answer(answer(phases=[still]), Scene(4.0, motion))) == {"no motion"}
    assert judge_answer(answer(phases=[still]), Scene(4.0, np.full(100, np.nan))).draft is not None


def test_texts_too_long_for_the_encoder():
    class Letters(WordTokenizer):
        def encode(self, text, *, add_special_tokens):
            return [ord(letter) for letter in text]

    long = [
        act(i, i + 1, f"She {verb} the right hand" + " slowly" * 20) for i, verb in enumerate(("lifts", "turns", "has"))
    ]
    assert judge_answer(answer(phases=long), Scene(4.0, tokenizer=WordTokenizer())).draft is not None
    assert reasons(judge_answer(answer(phases=long), Scene(4.0, tokenizer=Letters()))) == {"too many tokens"}


def test_the_end_of_a_clip_is_rounded_up():
    assert judge_answer(answer(phases=[act(0, 4)]), Scene(3.96)).draft is not None
    assert windows(judge_answer(answer(phases=[act(0, 4.1)]), Scene(3.96))) == [(0.0, 4.0)]


times = st.one_of(st.floats(-2, 8), st.integers(-3, 200), st.floats(0, 4).map(lambda t: round(t, 1)))
parts = st.sampled_from(["hands", "head"])
actions = st.sampled_from(
    ["She raises the right hand.", "She nods her head twice.", "She points at her knees.", "Waves"]
)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.builds(act, times, times, actions, parts), min_size=1, max_size=6), st.booleans())
def test_what_is_accepted_keeps_all_rules(phases, moving):
    motion = np.abs(np.sin(np.arange(100) / 7.0)) if moving else None
    verdict = judge_answer(answer(phases=phases), Scene(4.0, motion))
    assert (verdict.draft is None) == bool(verdict.faults)
    if verdict.draft is not None:
        acts = verdict.draft.acts
        verdict.draft.to_prompt().check(4.0)
        assert not [fault for check in CHECKS[:5] for fault in check(verdict.draft, Scene(4.0))]
        for one in acts:
            assert one.start >= 0 and one.end <= 4.0 and one.end - one.start >= SHORTEST_ACT - 1e-6
            assert all(math.isclose(time * 10, round(time * 10), abs_tol=1e-9) for time in (one.start, one.end))
        assert all(a.end <= b.start for a, b in pairwise(acts))
