"""Structured prompts: every syntax, every refusal, re-timing, and properties on random input."""

import json
import math

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.prompt.reading import is_document
from actavatar_jax.prompt.text import clean
from actavatar_jax.prompt.windows import split

TWO = StructuredPrompt("A woman.", (Phase(0, 2, "Gestures outward."), Phase(2, 4, "Points down.")))


@pytest.mark.parametrize(
    "text",
    [
        "A woman. [0-2s] Gestures outward. [2-4s] Points down.",
        "A woman. [00:00-00:02] Gestures outward. [00:02-00:04] Points down.",
        "A woman. [0:00.0-0:02] Gestures outward. [0:00:02-0:00:04.00] Points down.",
        "A woman. Phase-1 [0-2s]: Gestures outward. Phase-2 [2-4s]: Points down.",
        "A woman.\nPhase 1: [0 - 2 s] Gestures outward.\nphase-2[2s–4s]:\tPoints   down.\n",  # noqa: RUF001
        "A woman. [2-4s] Points down. [0-2s] Gestures outward.",  # phases count in the order of their start
    ],
)
def test_all_syntaxes_mean_the_same(text):
    assert StructuredPrompt.parse(text) == TWO


def test_render_is_the_papers_flat_string():
    assert TWO.render() == "A woman. Phase-1 [0-2s]: Gestures outward. Phase-2 [2-4s]: Points down."
    halves = StructuredPrompt("B", (Phase(0.5, 2.96, "x"), Phase(10 / 3, 5.0, "y")))
    assert halves.render() == "B Phase-1 [0.5-3s]: x Phase-2 [3.3-5s]: y"
    assert halves.phases[1].start == 10 / 3  # what is stored stays exact
    assert StructuredPrompt.parse("x [0:01.5-0:03] y").phases == (Phase(1.5, 3, "y"),)


def test_cleaning_is_the_backbones():
    assert clean("  caf\u00c3\u00a9 &amp;amp; b\u00e4r\n\t“x” ") == 'café & bär "x"'
    assert StructuredPrompt.parse("a &lt;b&gt; [0-1s]  c\n d").to_dict() == {
        "base": "a <b>",
        "phases": [{"start": 0.0, "end": 1.0, "action": "c d"}],
    }


def test_parse_names_every_problem_at_once():
    with pytest.raises(InputError) as error:
        StructuredPrompt.parse("A man. [2-s] Waves. [a-b] Nods. [3-1s] Turns.")
    assert all(part in str(error.value) for part in ("'[2-s]'", "'[a-b]'", "[3-1s] is reversed"))


def test_check_names_every_problem_at_once():
    few = [Phase(-1, 1, "a"), Phase(1, 1, "b"), Phase(3, 2, "c"), Phase(4, 9, "d"), Phase(4, 5, " ")]
    many = [Phase(5, 5.5, "e [1-2s] f"), Phase(6, math.nan, "g"), Phase(0, 1e7, "g"), *[Phase(0, 1, "h")] * 6]
    for phases, parts in (
        (few, ("base text is empty", "[-1-1s] starts before", "[1-1s] has no length", "[3-2s] is reversed",
               "[4-9s] reaches past the end of the clip at 8 s", "[4-5s] has no action")),
        (many, ("9 phases, at most 8", "[6-nans] has a time that is no finite", "phase 8 holds a time stamp")),
    ):  # fmt: skip
        with pytest.raises(InputError) as error:
            StructuredPrompt("", tuple(phases)).check(duration=8)
        assert all(part in str(error.value) for part in parts), error.value
        assert len(str(error.value)) <= 400
    with pytest.raises(InputError, match=r"and [0-9]+ more"):
        StructuredPrompt("", tuple(few + many)).check(duration=8)


def test_windows_behind_their_actions_leave_nothing_to_do():
    for text in ("She waves [0-2s].", "She waves [0-2s] and nods [2-4s].", "A. [0-2s]/[2-4s] Waves."):
        with pytest.raises(InputError, match="has no action text"):
            StructuredPrompt.parse(text).check()
    with pytest.raises(InputError, match="base text is empty"):
        StructuredPrompt.parse("- [0-2s] Waves.").check()
    StructuredPrompt.parse("手 [0-2s] \U0001f44b").check()


def test_overlaps_gaps_and_exact_ends_are_allowed():
    StructuredPrompt("b", (Phase(0, 3, "x"), Phase(1, 2, "y"), Phase(4, 5, "z"))).check(duration=5.0)
    TWO.check(duration=97 / 25)  # 97 frames are what 4 s can have at most: 4k + 1 of them
    with pytest.raises(InputError, match=r"phase 3 \[4-5s\]"):
        StructuredPrompt("b", (Phase(0, 3, "x"), Phase(1, 2, "y"), Phase(4, 5, "z"))).check(duration=4.8)


def test_from_dict_collects_what_is_wrong():
    for data, parts in (
        ({"bas": "typo", "phases": [{"start": "0", "end": True, "action": "x"}]},
         ("no key 'base'", "unknown key 'bas'", "entry 1 of 'phases': 'start' is '0'", "'phases': 'end' is True")),
        ({"base": "b", "phases": [{"start": 0, "end": 1, "text": "y"}, 7, {"start": 2, "end": 1, "action": "z"}]},
         ("entry 1 of 'phases' has no key 'action'", "unknown key 'text'", "entry 2 of 'phases' is int", "[2-1s] is")),
        ({"base": "b", "phases": [{"start": math.nan, "end": 10**400, "action": "z"}]},
         ("entry 1 of 'phases': 'start' is nan", "'end' is 1000")),
    ):  # fmt: skip
        with pytest.raises(InputError) as error:
            StructuredPrompt.from_dict(data)
        assert all(part in str(error.value) for part in parts), error.value
        assert len(str(error.value)) <= 400
    for wrong in ({"base": 3}, {"base": "x", "phases": {"start": 0}}, {}, None, b"x", []):
        with pytest.raises(InputError):
            StructuredPrompt.from_dict(wrong)


def test_files(tmp_path):
    as_json, as_yaml = json.dumps(TWO.to_dict()), yaml.safe_dump(TWO.to_dict())
    good = {"p.json": as_json, "p.yaml": as_yaml, "p.txt": TWO.render(), "q.TXT": "\ufeff" + TWO.render()}
    for name, text in good.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        assert StructuredPrompt.load(path) == StructuredPrompt.coerce(path) == StructuredPrompt.coerce(str(path)) == TWO
    bad = {
        "a.json": b"{",
        "b.yaml": b"a: [",
        "c.txt": b"\xff\xfe\xff",
        "d.json": b"[1]",
        "e.yaml": b"",
        "f.json": b"[" * 9999,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            StructuredPrompt.load(tmp_path / name)
    with pytest.raises(InputError, match=r"missing\.json is missing"):
        StructuredPrompt.coerce("missing.json")
    assert StructuredPrompt.coerce("A man reads notes.txt").base == "A man reads notes.txt"
    assert StructuredPrompt.coerce(TWO) is TWO
    assert StructuredPrompt.coerce(TWO.to_dict()) == TWO


def test_a_prompt_for_a_clip_is_checked_and_remarked_on(caplog):
    waves = StructuredPrompt("A man.", (Phase(2, 4, "Waves."),))
    assert StructuredPrompt.for_clip("A man. [50%-100%] Waves.", 4) == waves
    assert not caplog.records
    StructuredPrompt.for_clip("A man waves for 2-3s.", 4)
    assert [record.getMessage() for record in caplog.records] == [
        "no windows found in the prompt; the whole clip has one description; "
        "read as words, not as windows such as [0-2s]: '2-3s'."
    ]
    with pytest.raises(InputError, match="past the end"):
        StructuredPrompt.for_clip(TWO, 3)


def test_windows_table():
    windows = TWO.windows()
    assert windows.shape == (8, 2) and windows.dtype == np.float32
    np.testing.assert_array_equal(windows[:3], [[0, 2], [2, 4], [0, 0]])
    with pytest.raises(InputError, match="2 phases; at most 1"):
        TWO.windows(max_phases=1)


def test_window_re_times_clips_and_drops():
    cut = TWO.window(1.75, 3.0)  # 0.25 s of the first phase is left: too little
    assert cut == StructuredPrompt("A woman.", (Phase(0.25, 1.25, "Points down."),))
    assert TWO.window(1.7, 2.0).phases == (Phase(0, 2 - 1.7, "Gestures outward."),)
    for wrong in ((1, 1), (2, 1), (-1, 2), (0, math.nan)):
        with pytest.raises(InputError, match="0 <= start < end"):
            TWO.window(*map(float, wrong))


def test_timeline():
    lines = TWO.timeline(8.0).splitlines()
    assert lines[0].split() == [f"{t}s" for t in range(9)]
    bars = [line.count("█") for line in lines[1:]]
    assert bars == [48, 12, 12]
    assert lines[3].index("█") == lines[2].rindex("█") + 1 == lines[0].index("2s")
    assert lines[1].startswith("base") and lines[3].endswith("Points down.")
    assert StructuredPrompt("b").timeline().splitlines()[0].split()[-1] == "5s"
    assert "Phase-2" in TWO.timeline(1.0)  # past the end it is still shown


# ---- properties

TENTHS = st.integers(0, 300).map(lambda n: n / 10)
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


def rows(times=TENTHS):
    """A base text and (start, end, action) rows: a drawn prompt before it is built."""
    return st.tuples(TEXT, st.lists(st.tuples(times, times, TEXT), max_size=5))


def build(base, phases):
    return StructuredPrompt(base, tuple(Phase(*row) for row in phases))


def is_plain(prompt):
    """No stamp or label hidden inside a text, and reading the joint text as Unicode changes nothing."""
    try:
        prompt.check()
    except InputError as error:
        return "inside its text" not in str(error) and "begins as JSON" not in str(error)
    return True


@settings(max_examples=150, deadline=None)
@given(rows())
def test_parse_reads_what_render_writes(drawn):
    prompt = build(*drawn)
    assume(is_plain(prompt) and clean(prompt.render()) == prompt.render())
    assert StructuredPrompt.parse(prompt.render()) == prompt


@settings(max_examples=100, deadline=None)
@given(rows(st.floats(-10, 1000)))
def test_json_round_trip_is_exact(drawn):
    prompt = build(*drawn)
    assert StructuredPrompt.from_dict(json.loads(json.dumps(prompt.to_dict()))) == prompt


FRAGMENTS = [
    "[",
    "]",
    "-",
    "0",
    "2",
    "9",
    ":",
    ".",
    "s",
    " ",
    "wave",
    "é",
    "\n",
    "\r\n",
    "&lt;",
    "&amp;",
    ",",
    "%",
    "|",
    "m",
]
FRAGMENTS += [
    "Phase-1",
    "Phase 1: ",
    "[0-2s]",
    "- [1-2]",
    "(3-4s)",
    "0-2s",
    "0:00-0:02",
    "from ",
    " to ",
    "between ",
    "and",
]
FRAGMENTS += [
    "(",
    ")",
    "<",
    ">",
    "{",
    "}",
    "【",
    "】",
    "[[",
    "]]",
    "秒",
    "~",
    "→",
    "...",
    "**",
    "`",
    "1. ",
    "- ",
    "frames ",
]
FRAGMENTS += ["\0", "\u200e", "base:", '"', "'", "t="]
FRAGMENTS = st.sampled_from(FRAGMENTS)


@pytest.mark.parametrize("text", ["base: (0-0S)", "base: '[0-2s] She nods.'"])
def test_a_base_that_is_a_window_is_refused_before_it_is_used(text):
    with pytest.raises(InputError, match="the base text holds a time stamp"):
        StructuredPrompt.parse(text).check()


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXT, st.lists(FRAGMENTS, max_size=12).map("".join)))
def test_any_text_is_read_or_refused(text):
    try:
        prompt = StructuredPrompt.parse(text)
    except InputError as error:
        assert len(str(error)) <= 400 and "\n" not in str(error)
        return
    assert all(a.start <= b.start for a, b in zip(prompt.phases, prompt.phases[1:], strict=False))
    # Of JSON or YAML, texts may be what is a notation elsewhere: `check` refuses these.
    assume(not is_document(f"{prompt.base} "))
    texts = map(split, (prompt.base, *(phase.action for phase in prompt.phases)))
    assume(not any(len(found.blocks) > 1 or found.problems for found in texts))
    rendered = prompt.render()
    assert StructuredPrompt.parse(rendered).render() == rendered
    assert prompt.timeline().count("\n") == len(prompt.phases) + 1


@settings(max_examples=150, deadline=None)
@given(rows(st.floats(0, 30)), st.floats(0, 20), st.floats(0.1, 20))
def test_re_timing(drawn, start, length):
    prompt = build(drawn[0], [(a, b, f"action {n}") for n, (a, b, _) in enumerate(drawn[1])])
    end = start + length
    cut = prompt.window(start, end)
    order = [phase.action for phase in prompt.phases]
    places = [order.index(phase.action) for phase in cut.phases]
    assert places == sorted(places) and cut.base == prompt.base
    for phase, place in zip(cut.phases, places, strict=True):
        source = prompt.phases[place]
        assert 0 <= phase.start <= phase.end <= end - start
        assert 0.3 - 1e-5 <= phase.end - phase.start <= source.end - source.start + 1e-9
    long_enough = [n for n, p in enumerate(prompt.phases) if min(p.end, end) - max(p.start, start) > 0.301]
    assert set(long_enough) <= set(places)
