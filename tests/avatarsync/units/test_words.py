# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""Words as units: their times and names, ids that are the same everywhere, and speech that has no words."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.avatarsync import Alignment, plan_speech, read_alignment
from actavatar_jax.avatarsync.units import exchange_unit, schedule, to_units, unit_table
from actavatar_jax.errors import InputError
from actavatar_jax.speech import PAUSE
from tests.avatarsync.units.test_units import said

TABLE = unit_table()
MAP = (("m", 0.1), ("ˈæ", 0.2), ("p", 0.1))


def words(*symbols, begins=(0.0,), notation="ipa"):
    return to_units(said(*symbols), notation, begins, "words")


def names(*symbols, **options):
    return [unit.name for unit in words(*symbols, **options)]


def test_a_word_is_one_unit_from_its_beginning_to_the_next():
    found = words((PAUSE, 0.2), "ɐ", *MAP, (PAUSE, 0.3), ("h", 0.1), ("oʊ", 0.2), begins=(0.2, 0.3, 1.0))
    assert [(unit.name, unit.span) for unit in found] == [
        ("sil", (0, 1)), ("/a/", (1, 2)), ("/b-ae-b/", (2, 5)), ("sil", (5, 6)), ("/h-ou/", (6, 8)),
    ]  # fmt: skip
    assert [time for unit in found for time in (unit.start, unit.end)] == pytest.approx(
        [0, 0.2, 0.2, 0.3, 0.3, 0.7, 0.7, 1.0, 1.0, 1.3]
    )


def test_every_word_has_one_keyframe_in_its_middle():
    plan = plan_speech(Alignment(tuple(said("ɐ", *MAP, *MAP, (PAUSE, 0.2))), (0.0, 0.1, 0.5)), level="words")
    assert plan.level == "words" and len(plan.units) == 4
    assert [(keyframe.name, keyframe.time) for keyframe in plan.schedule.keyframes] == [
        ("sil", 0), ("/b-ae-b/", 7), ("/b-ae-b/", 17), ("sil", 25), ("sil", 27),
    ]  # fmt: skip  # the first word is too close to the lips that are shut at the beginning
    word = TABLE.id("/b-ae-b/")
    assert plan.schedule.ids.tolist() == [2, word, word, 2, 2]


def test_ids_are_those_of_every_process_and_machine():
    known = {"/b-ae-b/": 4016, "/ai/": 3950, "/h-ou-b/": 456}
    assert {name: TABLE.id(name) for name in known} == known
    every = [TABLE.id(f"/{'-'.join(sounds)}/") for sounds in itertools.permutations(TABLE.names[4:], 2)]
    assert min(every) >= TABLE.size and max(every) < TABLE.size + TABLE.words
    assert len(set(every)) > 0.25 * TABLE.words  # spread over all of them: 2256 draws of 4032 leave 57 % out


def test_a_word_is_the_same_in_every_notation_and_tempo():
    assert names("M", "AE1", "P", notation="arpabet") == names(*MAP) == ["/b-ae-b/"]
    assert names(("m", 0.05), ("aɪ", 0.06)) == names(("m", 0.1), ("aɪ", 0.5)) == ["/b-ai/"]
    assert names("ni3", "hao3", begins=(0.0, 0.1), notation="pinyin") == ["/d-i/", "/h-ao/"]
    assert TABLE.id("/ai/") != TABLE.id("ai")


def test_pauses_end_words_where_they_are_long():
    assert names("m", (PAUSE, 0.09), "a") == ["/b-a/"] and names("m", (PAUSE, 0.11), "a") == ["/b/", "sil", "/a/"]
    assert names("a", (PAUSE, 0.05), (PAUSE, 0.2), (PAUSE, 0.05), "a", begins=(0.0, 0.4)) == ["/a/", "sil", "/a/"]
    (first,) = words((PAUSE, 0.05), *MAP, begins=(0.05,))
    assert (first.start, first.span) == (0.0, (0, 4))
    assert names((PAUSE, 0.05), begins=()) == names((PAUSE, 0.5), begins=()) == ["sil"]
    assert [unit.end for unit in words(*MAP, "ʔ", begins=(0.0, 0.4))] == pytest.approx([0.5])  # nothing is seen of it
    assert names("ʔ", *MAP) == ["/b-ae-b/"] and names("m", "ǃ") == ["/b-unk/"]


def test_words_that_are_said_twice_are_two():
    assert names(*MAP, *MAP, begins=(0.0, 0.4)) == ["/b-ae-b/"] * 2


def test_speech_without_words_is_refused(tmp_path):
    for told in ("said.ctm", "said.json"):
        lines = {"said.ctm": "a 1 0 0.2 m", "said.json": '{"phonemes": [{"symbol": "m", "start": 0, "end": 0.2}]}'}
        (tmp_path / told).write_text(lines[told])
        spoken = read_alignment(tmp_path / told)
        assert len(plan_speech(spoken).units) == 1
        with pytest.raises(InputError, match=r"Units of words need the times at which words begin, .* accepted is"):
            plan_speech(spoken, level="words")
    with pytest.raises(InputError, match="'syllables'; accepted is phonemes, words"):
        to_units(said("m"), words=(0.0,), level="syllables")


def test_a_word_is_exchanged_for_another_and_for_nothing_else():
    units = words(*MAP)
    plan = exchange_unit(schedule(units, 0.4), 0, "/s-o-s/", "words")
    assert [keyframe.name for keyframe in plan.keyframes] == ["sil", "/s-o-s/", "sil"]
    assert "sil" in exchange_unit(plan, 0, "sil", "words").keyframes[1].name
    for name in ("b", "/b-hm/", "//", "/b-ae-b"):
        with pytest.raises(InputError, match=f"There is no word '{name}'; accepted is sil, or its sounds"):
            exchange_unit(plan, 0, name, "words")
    with pytest.raises(InputError, match="There is no unit '/s-o-s/'"):
        exchange_unit(schedule(to_units(said(*MAP)), 0.4), 0, "/s-o-s/")


SYMBOLS = st.sampled_from([*TABLE.ipa, *TABLE.joint, PAUSE, "ʔ"])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(SYMBOLS, st.floats(0.02, 0.4), st.booleans()), max_size=12))
def test_words_have_all_of_the_time_and_of_the_phonemes(spoken):
    phonemes = said(*((symbol, seconds) for symbol, seconds, _ in spoken))
    begins = [p.start for p, (_, _, first) in zip(phonemes, spoken, strict=True) if first] or [0.0]
    found = to_units(phonemes, "ipa", begins, "words")
    assert bool(found) == bool(phonemes)
    for before, after in itertools.pairwise(found):
        assert before.start < before.end == after.start and before.span[1] == after.span[0]
    if found:
        assert (found[0].start, found[0].span[0]) == (0, 0)
        assert (found[-1].end, found[-1].span[1]) == (phonemes[-1].end, len(phonemes))
