"""The notation of time windows: each that is taken, each that is refused, and prose that stays prose."""

# ruff: noqa: RUF001

import contextlib
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from actavatar_jax.media.clock import FPS
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.prompt.text import MAX_CHARACTERS, seconds
from actavatar_jax.prompt.windows import FRAMES_PER_SECOND

PAGE = Path(__file__).resolve().parents[2] / "docs" / "prompts.md"
WINDOWS = [
    *("[0-2s]", "[0-2]", "[0s-2s]", "[0s - 2]", "[0.0-2.00 sec]", "[0-2 secs.]", "[0-2 Seconds]", "[ 0 - 2 S ]"),
    *("[.0-2s]", "[0~2s]", "[0～2s]", "[0〜2s]", "[0–2s]", "[0—2s]", "[0−2s]", "[0->2s]", "[0=>2s]", "[0 --> 2s]"),
    *("[0→2s]", "[0⇒2s]", "[0..2s]", "[0...2s]", "[0…2s]", "[0 to 2s]", "[0s until 2s]", "[0 till 2s]"),
    *("[0s through 2s]", "[0至2秒]", "[0到2秒钟]", "[0-2秒]"),
    *("[0秒-2秒]", "[０-２ｓ]", "［0-2s］", "【0-2s】", "【0～2秒】"),
    *("〔0-2s〕", "[[0-2s]]", "[\u200e0-2s\u200f]", "[0-2000ms]", "[0-2000 milliseconds]", "[0ms-2s]", "[0m0s-0m2s]"),
    *("[0m 0s - 0min 2.0s]", "[0:00-0:02]", "[00:00-00:02s]", "[00:00:00,000 --> 00:00:02,000]"),
    *("[0:00:00.0-0:00:02]", "[0:00-2s]", "[frames 0-50]", "[frame 0 - frame 50]", "«0-2s»"),
    *("[0-50 frames]", "[0-50f]", "[Frames: 0–50]", "[0-50帧]"),
    *("[0%-40%]", "[0-40%]", "[0s-40％]", "[from 0 to 2s]", "[at 0-2s]", "[time: 0-2s]", "[t=0..2]"),
    *("[seconds 0-2]", "[between 0 and 2s]", "[٠-٢s]", "(0-2s)", "（0-2s）", "(0:00-0:02)", "(0->2s)"),
    *("(frames 0-50)", "{0-2s}", "<0-2s>", "&lt;0-2s&gt;"),
    *("「0-2秒」", "《0-2s》", "0-2s:", "0-2 s :", "From 0 to 2s:"),
    *("00:00-00:02:", "frames 0-50:", "Phase 1: 0-2s:", "\n0:00-0:02", "\n- 0-2s:", "Phase-1 [0-2s]:"),
    *("phase 1: [0-2s]", "Phase1 (0-2s)", "Phase 1,\n[0-2s]", "[0-2s] -", "[0-2s] –", "\n1. [0-2s]"),
    *("[Phase 1: 0-2s]", "[phase-1, 0-2s]:", "**[0-2s]**", "**[0-2s]:**", "**Phase 1 [0-2s]**:", "**0-2s:**"),
    *("`[0-2s]`", "[0-2]s", "[0-2]sec:", "[0-2]秒", "[第0-2秒]", "第0-2秒：", "\n- **[0-2s]:**", "\n- [0-2s]"),
    *("\n* Phase 1 [0-2s]:", "\n1\n00:00:00,000 --> 00:00:02,000\n", "[0-\n2s]"),
]  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
def test_windows_of_every_notation(window):
    prompt = StructuredPrompt.parse(f"A woman. {window} Waves.", duration=5)
    assert prompt == StructuredPrompt("A woman.", (Phase(0, 2, "Waves."),))
    prompt.check(5)
    assert prompt.remarks() == []


def test_the_page_has_no_notation_that_is_not_taken():
    table = re.findall(r"^\| .*? \| (.*?) \|", PAGE.read_text(), re.M)
    notations = [code for cell in table for code in re.findall("`(.*?)`", cell) if re.search(r"[0-9]\D+[0-9]", code)]
    assert len(notations) > 30
    for notation in notations:
        text = f"A woman.\n{notation.removesuffix(' Waves.')} Waves."
        text = text.replace("between 0 and 2s", "[between 0 and 2s]")
        windows = [(phase.start, phase.action) for phase in StructuredPrompt.parse(text, 5).phases]
        assert windows in ([(0, "Waves.")], [(0.5, "Waves.")]), notation


def test_values_of_every_unit():
    text = "x [1.5-2s] a [250-500ms] b [frames 13-26] c [10%-25%] d [1:02.5-1:03] e [1:00:00-1:00:01,5] f [1m2s-1m3s] g"
    windows = {p.action: (p.start, p.end) for p in StructuredPrompt.parse(text, duration=8).phases}
    assert windows == {
        "a": (1.5, 2), "b": (0.25, 0.5), "c": (13 / 25, 26 / 25), "d": (0.8, 2), "e": (62.5, 63), "f": (3600, 3601.5),
        "g": (62, 63),
    }  # fmt: skip
    assert FRAMES_PER_SECOND == FPS


def test_lists_of_windows_leave_no_marks_behind():
    listed = "A woman.\r\n1. [0-2s] Waves.\r\n2. [2-4s] Nods."
    srt = "A woman.\n\n1\n00:00:00,000 --> 00:00:02,000\nWaves.\n\n2\n00:00:02,000 --> 00:00:04,000\nNods.\n"
    chapters = "A woman.\n0:00-0:02 Waves.\n0:02-0:04 - Nods."
    sentence = "A woman. 0-2s: Waves. 2-4s: Nods."
    expected = StructuredPrompt("A woman.", (Phase(0, 2, "Waves."), Phase(2, 4, "Nods.")))
    assert [StructuredPrompt.parse(text) for text in (listed, srt, chapters, sentence)] == [expected] * 4
    assert StructuredPrompt.parse("1. [0-2s] Waves.\n2. [2-4s] Nods.").base == ""


@pytest.mark.parametrize(
    "stamp",
    [
        *("[2-s]", "[a-b]", "[-2s]", "[2-]", "[0-end]", "[0,5-2s]", "[3s]", "[1:75-2:00]", "[0-2 minutes]"),
        *("[0:02]", "[0-2s: waves]", "[0-2s", "(0-2s", "(0-2s, waves)", "[0-2 Sekunden]"),
        *("[0 Sekunden - 2 Sekunden]", "[0/2s]", "[0ー2秒]", "[1-2-3]", "[00:00:00:00-00:00:02:00]", "[0s, 2s]"),
        *("[aged 20-30]", "[at 2s]", "[first 2 seconds]", "[~0-2s]", "[0'00\"-0'02\"]", "[2023-05-01]", "[0, 2s]"),
        *("(0-2s]", "[0-2s)", "[0, 2]", "[0.0, 2.5]", "[0/2]", "[Scene 1: 0-2s]", "[Phase 1]", "[#0-#50]"),
        *("[de 0 a 2 s]", "[Shot 1, 0-2s]"),
    ],
)  # fmt: skip
def test_stamps_that_are_no_windows_are_named_with_what_is_accepted(stamp):
    with pytest.raises(InputError) as error:
        StructuredPrompt.parse(f"A man. {stamp} Waves.")
    assert stamp[:5] in str(error.value).replace("\\", "")
    assert "accepted is [0-2s], [0:00-0:02], [frames 0-50] or [0%-40%]" in str(error.value)
    assert len(str(error.value)) <= 400 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "She is [smiling] and [waving back].",
        "A [2-piece suit], a [T-shirt] and a [3-year-old]",
        "",
        "Wait [...] then",
        "Two (2-3) people, (5%-10%) of all, (1990-2000), won 2-1: great.",
        "It grew 5%-10%: a success.",
        "1 < 2 and 3 > 2",
        "He explains phase 2: the trial",
        "A <b>bold</b> {smile}",
        "- first\n- second",
        "At 9:30: tea.",
    ],
)
def test_prose_stays_prose(text):
    prompt = StructuredPrompt.parse(text)
    assert prompt.phases == () and prompt.base == " ".join(text.split())
    assert prompt.remarks() == ["no windows found in the prompt; the whole clip has one description"]


def test_ranges_of_time_in_prose_are_remarked_on():
    prompt = StructuredPrompt.parse("A man. [0-2s] Waves (for 1-2 seconds). 2-4s Nods for 2-3s: slowly.")
    assert len(prompt.phases) == 1
    loose = "'1-2 seconds', '2-4s', '2-3s'"
    assert prompt.remarks() == [f"read as words, not as windows such as [0-2s]: {loose}"]


@pytest.mark.parametrize("text", ["A man. Phase-1: waves.", "A man. Phase 1: waves.", "Phase 1: x.", "A.\nPhase1: x"])
def test_labels_without_a_window_are_refused(text):
    with pytest.raises(InputError, match=r"'Phase[- ]?1:' has no time window"):
        StructuredPrompt.parse(text)


def test_shares_need_a_duration():
    with pytest.raises(InputError, match=r"'\[0%-40%\]' is a share of a clip whose length is not known"):
        StructuredPrompt.parse("A man. [0%-40%] Waves.")
    assert StructuredPrompt.coerce("A man. [50%-100%] Waves.", 4).phases == (Phase(2, 4, "Waves."),)


TIMES = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: (pair[0] / 10, pair[1] / 10))
STYLES = ["[{}-{}s]", "[{}s ~ {}s]", "【{}→{}】", "({} to {} sec)", "[[{}..{}]]", "[from {} to {}s]", "{{{}-{}s}}"]
STYLES = st.sampled_from([*STYLES, "\n- [{}–{}]", "**[{}-{}]:**", "Phase 7: <{}s-{}s>", "\n1. Phase-1 [{} - {}s]:"])
WORDS = ["waves", "nods", "slowly", "3", "2-piece", "the", "(left)", "hand,", "[smiling]", "&", "é", "手"]
WORDS = st.lists(st.sampled_from(WORDS), min_size=1)


@settings(max_examples=200, deadline=None)
@given(WORDS, st.lists(st.tuples(STYLES, TIMES, WORDS), max_size=5))
def test_any_notation_means_what_render_writes(base, rows):
    phases = [(style.format(*map(seconds, times)), times, " ".join(words)) for style, times, words in rows]
    text = " ".join([" ".join(base), *(f"{stamp} {action}." for stamp, _, action in phases)])
    expected = StructuredPrompt(" ".join(base), tuple(Phase(*times, f"{action}.") for _, times, action in phases))
    prompt = StructuredPrompt.parse(text)
    assert prompt == expected
    assert StructuredPrompt.parse(prompt.render()) == prompt


PIECES = [
    "[",
    "[[0",
    "[0-",
    "(0-2s",
    "0-2s: ",
    "[0-1s] x ",
    "0:00-",
    "\n1\n",
    "Phase 1: ",
    "from ",
    "-->",
    "[a",
    "\n",
    "é",
]
ENTITIES = ["&amp;amp;", "amp;", "&#38;#38;", "&&num;38;", "&&NUM;38;", "&lt;", "Ã©"]


@pytest.mark.parametrize("piece", [*PIECES, *ENTITIES])
def test_the_longest_texts_take_no_minutes(piece):
    text = "[0-2s] &" + piece * ((MAX_CHARACTERS - 8) // len(piece))
    before = time.process_time()
    with contextlib.suppress(InputError):
        StructuredPrompt.parse(text).check(5)
    assert time.process_time() - before < 5  # seconds; most take 0.1, and a pass for each letter would take minutes
