# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""Phonemes to units: the table, coarticulation, pauses, and what is left of the time."""

import itertools
import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actavatar_jax.avatarsync.units import to_units, unit_table
from actavatar_jax.avatarsync.units.units import first_of_words
from actavatar_jax.errors import InputError
from actavatar_jax.puppets.speech import LANGUAGES, make_sentence
from actavatar_jax.speech import PAUSE, VOICES, Phoneme, speak

TABLE = unit_table()


def said(*symbols, each=0.1, start=0.0):
    """Phonemes of equal length one after another, or (symbol, seconds)."""
    phonemes = []
    for symbol in symbols:
        symbol, length = symbol if isinstance(symbol, tuple) else (symbol, each)
        phonemes.append(Phoneme(symbol, start, start := start + length))
    return phonemes


def units(*symbols, each=0.1, notation="ipa", words=()):
    return [unit.name for unit in to_units(said(*symbols, each=each), notation, words)]


def test_the_table_is_whole():
    assert len(TABLE.names) == len(set(TABLE.names)) == 52 and TABLE.size == 64
    assert TABLE.names[:4] == ("pad", "null", "sil", "unk")
    assert sorted(itertools.chain(*TABLE.ranks)) == sorted(TABLE.names)
    named = {*TABLE.ipa.values(), *TABLE.joint.values(), *TABLE.rounded.values(), *TABLE.rounding}
    named |= {*TABLE.initials.values(), *itertools.chain(*TABLE.finals.values()), *TABLE.apical.values()}
    assert named <= set(TABLE.names)
    assert set(TABLE.names) - named == {"pad", "null", "sil", "unk"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_voices_say_is_known(language, caplog):
    rng = np.random.default_rng(0)
    for voice in [name for name, voice in VOICES.items() if voice.language == language]:
        spoken = speak(" ".join(make_sentence(rng, language) for _ in range(8)), voice, rate=300)
        assert "unk" not in {unit.name for unit in to_units(spoken.phonemes, words=spoken.words)}
    assert not caplog.records


def test_many_symbols_are_one_unit():
    assert units("p", "a", "b", "e", "m") == ["b", "a", "b", "e", "b"]
    assert units("ˈɑː", "tʃ", "d͡ʒ", "t", "ɕ") == ["a", "sh", "d", "x"]  # equal neighbours are one


def test_a_cedilla_is_no_diacritic_and_others_are():
    assert units("ç") == units("c\u0327") == ["x"]
    assert units("ẽ") == units("e\u0303") == ["e"] and units("tʰ", "n\u0329") == ["d"]


def test_diphthongs_are_one_where_they_are_short():
    assert units(("aɪ", 0.15)) == ["ai"] and units(("j", 0.05), ("uː", 0.1)) == ["iu"]
    (joint,) = to_units(said(("j", 0.05), ("uː", 0.1)))
    assert joint.span == (0, 2) and joint.end == pytest.approx(0.15)
    apart = to_units(said(("j", 0.1), ("u", 0.1)))
    assert [(unit.name, unit.end) for unit in apart] == [("y", 0.1), ("u", 0.2)]  # each with its own time
    assert units(("w", 0.05), ("aɪ", 0.1)) == ["uai"]
    first, second = to_units(said(("b", 0.1), ("aɪ", 0.3)))[1:]
    middles = [(unit.start + unit.end) / 2 for unit in (first, second)]
    assert (first.name, second.name) == ("a", "ih") and first.span == second.span == (1, 2)
    assert middles == pytest.approx([0.1 + 0.3 / 3, 0.1 + 0.3 * 5 / 6])


def test_sounds_of_two_words_are_not_one():
    assert units("ɔ", ("ɹ", 0.05), each=0.05) == ["or"]
    assert units("ɔ", ("ɹ", 0.05), each=0.05, words=(0.0, 0.05)) == ["o", "r"]
    # Voices tell a word's beginning some milliseconds off the sound's, before it or, behind shut lips, after it.
    for told in (0.04, 0.06):
        assert units("ɔ", ("ɹ", 0.05), each=0.05, words=(0.0, told)) == ["o", "r"]
    assert first_of_words(said("_", "a", "b"), (0.0, 0.21)) == {1, 2} and not first_of_words(said("_"), (0.0,))


def test_triphthongs_share_their_time_by_letters():
    assert units(("weɪ", 0.3)) == ["w", "ei"] and units(("weɪ", 0.6)) == ["w", "e", "ih"]
    (first, second) = to_units(said(("aɪɚ", 0.15)))
    assert (first.name, second.name) == ("ai", "er") and first.end == pytest.approx(0.1)


def test_consonants_are_rounded_before_rounded_lips():
    assert units("k", "uː", "k", "iː") == ["g°", "u", "g", "i"]
    assert units("h", ("oʊ", 0.1)) == ["h°", "ou"] and units("s", "w", "ɪ") == ["s°", "w", "ih"]
    assert units("b", "uː") == ["b", "u"] and units("k", ("_", 0.2), "uː") == ["g", "sil", "u"]


def test_short_pauses_and_glottal_stops_belong_to_the_unit_before():
    (only,) = to_units(said("a", ("_", 0.09), "ʔ", "a"))
    assert (only.name, only.span, only.end) == ("a", (0, 4), pytest.approx(0.39))
    assert units("a", ("_", 0.11), "a") == ["a", "sil", "a"]
    (first,) = to_units(said(("sp", 0.05), "ʔ", "ʲ", "m"))
    assert (first.name, first.start, first.span) == ("b", 0, (0, 4))
    assert units(("_", 0.05)) == ["sil"] and units() == []


def test_what_is_unknown_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        assert units("ǃ", "a", "ǃ") == ["unk", "a", "unk"] and units("spn") == ["unk"]
    assert [record.args for record in caplog.records] == [("ǃ",), ("spn",)]
    assert units("QQ1", "AA0", notation="arpabet") == ["unk", "a"]


def test_arpabet_is_read():
    assert len(TABLE.arpabet) == 39 and "unk" not in units(*TABLE.arpabet, notation="arpabet")
    assert units("HH", "AW1", "S", notation="arpabet") == ["h", "ao", "s"]


# ---- pinyin

INITIALS = ["b", "p", "m", "f", "d", "t", "n", "l", "g", "k", "h", "j", "q", "x", "zh", "ch", "sh", "r", "z", "c", "s"]


def test_every_syllable_of_pinyin_is_known():
    assert len(INITIALS) == 21 and len(TABLE.finals) == 37
    for initial, final in itertools.product(["", *INITIALS], TABLE.finals):
        found = units(*filter(None, (initial, final)), notation="pinyin")
        assert "unk" not in found and found, (initial, final)


@pytest.mark.parametrize(
    ("syllable", "expected"),
    [
        ("zhong1", ["sh", "u"]),
        ("guó", ["g°", "uo"]),
        ("nǚ", ["d°", "v"]),
        ("lu:e4", ["l°", "ve"]),
        ("yue4", ["ve"]),
        ("yuan2", ["ve"]),
        ("qu4", ["x°", "v"]),
        ("xue2", ["x°", "ve"]),
        ("jun1", ["x°", "v"]),
        ("gui4", ["g°", "uei"]),
        ("liu2", ["l", "iu"]),
        ("dun1", ["d°", "w", "uh"]),
        ("zi4", ["s", "zi"]),
        ("shi4", ["sh", "zhi"]),
        ("ni3", ["d", "i"]),
        ("er2", ["er"]),
        ("wo3", ["uo"]),
        ("a5", ["a"]),
        ("zh", ["sh"]),
        ("xyz", ["unk"]),
    ],
)
def test_syllables(syllable, expected):
    found = units(syllable, notation="pinyin")
    assert found == expected if expected != ["unk"] else "unk" in found


def test_an_initial_has_a_third_of_its_syllable_and_at_most_012_s():
    for seconds, middle in ((0.2, 0.07), (1.0, 0.12)):
        first, second = to_units([Phoneme("ma1", 0.0, seconds)], "pinyin")
        assert (first.name, second.name) == ("b", "a") and first.end == second.start == pytest.approx(middle)


def test_another_notation_is_refused():
    with pytest.raises(InputError, match="'sampa'; accepted is ipa, arpabet, pinyin"):
        to_units([], "sampa")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([*TABLE.ipa, *TABLE.joint, PAUSE, "ʔ"]), st.floats(0.02, 0.4)), max_size=12))
def test_units_have_all_of_the_time_and_of_the_phonemes(symbols):
    phonemes = said(*symbols)
    found = to_units(phonemes)
    assert bool(found) == bool(phonemes)
    for before, after in itertools.pairwise(found):
        assert before.start < before.end == pytest.approx(after.start) and before.name != after.name
        assert before.span[1] == after.span[0] or before.span[1] == after.span[0] + 1  # two units of one phoneme
    if found:
        assert (found[0].start, found[0].span[0]) == (0, 0)
        assert (found[-1].end, found[-1].span[1]) == (phonemes[-1].end, len(phonemes))
