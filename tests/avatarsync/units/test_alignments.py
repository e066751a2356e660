"""Alignments from files: the three kinds, and what is refused of them."""

import json

import pytest

from actavatar_jax.avatarsync.units import align_text, check_phonemes, read_alignment
from actavatar_jax.avatarsync.units.textgrid import parse_textgrid
from actavatar_jax.errors import InputError
from actavatar_jax.speech import Phoneme

PHONES = [("", 0.0, 0.25), ("m", 0.25, 0.31), ("ˈæ", 0.31, 0.5), ("p", 0.5, 0.62)]
WORDS = [("", 0.0, 0.25), ('"map"', 0.25, 0.62)]

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.62
tiers? <exists>
size = {size}
item []:
{items}"""


def long_form(tiers, kind="IntervalTier"):
    items = []
    for number, (name, intervals) in enumerate(tiers, start=1):
        items.append(f'    item [{number}]:\n        class = "{kind}"\n        name = "{name}"\n        xmin = 0')
        items.append(f"        xmax = 0.62\n        intervals: size = {len(intervals)}")
        for n, (label, start, end) in enumerate(intervals, start=1):
            quoted = label.replace('"', '""')
            items.append(f"        intervals [{n}]:\n            xmin = {start}\n            xmax = {end}")
            items.append(f'            text = "{quoted}" ')
    return LONG.format(size=len(tiers), items="\n".join(items))


def short_form(tiers):
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "0.62", "<exists>", str(len(tiers))]
    for name, intervals in tiers:
        lines += ['"IntervalTier"', f'"{name}"', "0", "0.62", str(len(intervals))]
        for label, start, end in intervals:
            lines += [str(start), str(end), '"' + label.replace('"', '""') + '"']
    return "\n".join(lines)


TIERS = [("words", WORDS), ("phones", PHONES)]
POINTS = '"TextTier"\n"clicks"\n0\n0.62\n1\n0.3\n"here"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", [long_form, short_form])
def test_textgrids_of_both_forms_and_encodings(tmp_path, form, encoding):
    path = tmp_path / "said.TextGrid"
    path.write_bytes(form([(f"anna - {name}", tier) for name, tier in TIERS]).encode(encoding))
    found = read_alignment(path, seconds=0.62)
    assert [(p.symbol, p.start, p.end) for p in found.phonemes] == PHONES and found.words == (0.25,)
    assert [word.symbol for word in parse_textgrid(form(TIERS), "it")["words"]] == ["", '"map"']


def test_tiers_of_points_are_left_out(tmp_path):
    path = tmp_path / "said.TextGrid"
    head, _, tail = short_form(TIERS).partition("<exists>\n2\n")
    path.write_text(f"{head}<exists>\n3\n{POINTS}{tail}")
    assert len(read_alignment(path).phonemes) == 4


def test_json(tmp_path):
    path = tmp_path / "said.json"
    phonemes = [dict(zip(("symbol", "start", "end"), phone, strict=True)) for phone in PHONES]
    path.write_text(json.dumps({"phonemes": phonemes, "words": [0.25]}))
    found = read_alignment(path, seconds=0.62)
    assert found.phonemes[3] == Phoneme("p", 0.5, 0.62) and found.words == (0.25,) and found.seconds == 0.62
    assert found.notation == "ipa" and read_alignment(path, notation="arpabet").notation == "arpabet"
    path.write_text(json.dumps({"phonemes": phonemes, "notation": "pinyin"}))
    assert read_alignment(path).notation == "pinyin"
    path.write_text(json.dumps({"phonemes": [{"symbol": "a", "start": "0"}]}))
    with pytest.raises(InputError, match=r"phonemes\[0\].*end is missing"):
        read_alignment(path)


def test_ctm(tmp_path):
    path = tmp_path / "said.ctm"
    path.write_text(";; a comment\nclip 1 0.00 0.25 sil\nclip 1 0.25 0.06 m 0.98\n")
    assert read_alignment(path).phonemes == (Phoneme("sil", 0.0, 0.25), Phoneme("m", 0.25, 0.31))
    path.write_text("clip 1 0 0.25 sil\nother 1 0.25 0.06 m\n")
    with pytest.raises(InputError, match="is of 2 files or channels"):
        read_alignment(path)
    path.write_text("clip 1 zero 0.25 sil\n")
    with pytest.raises(InputError, match=r"line 1 is 'clip 1 zero 0.25 sil'; accepted is file, channel"):
        read_alignment(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.1 0.2 m", "no TextGrid"),
        (short_form([("words", WORDS)]), "0 interval tiers named phones; accepted is one, found are words"),
        (short_form([("phones", PHONES), ("b - phones", PHONES)]), "2 interval tiers named phones"),
        (short_form([("phones", PHONES), ("phones", PHONES)]), "two tiers named 'phones'"),
        (short_form(TIERS)[:-30], "no whole TextGrid: found 'the end', expected a"),
        (short_form(TIERS).replace('"IntervalTier"', '"OddTier"'), "tier of the kind 'OddTier'"),
        (short_form(TIERS).replace("\n2\n", "\n2.5\n"), "found 2.5, expected how many"),
        (b"File type = \xff".decode("latin-1"), "no TextGrid"),
    ],
)
def test_refused_textgrids(tmp_path, text, message):
    path = tmp_path / "said.TextGrid"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_alignment(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "said.txt"
    path.write_text("m")
    with pytest.raises(InputError, match=r"accepted are files named \*.TextGrid, \*.json and \*.ctm"):
        read_alignment(path)
    path = tmp_path / "said.textgrid"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text in UTF-8 or UTF-16"):
        read_alignment(path)


@pytest.mark.parametrize(
    ("phones", "message"),
    [
        ([("m", 0, 0.1), ("a", 0.2, 0.4)], "phoneme 2, 'a', begins at 0.2 s and leaves a gap from 0.1 s on"),
        ([("m", 0.1, 0.4)], "phoneme 1, 'm', begins at 0.1 s and leaves a gap from 0 s on"),
        ([("m", 0, 0.2), ("a", 0.1, 0.4)], "'a', begins at 0.1 s, before 0.2 s, where the one before ends"),
        ([("m", 0, 0.2), ("a", 0.2, 0.2)], "'a', ends at 0.2 s and begins at 0.2 s"),
        ([("m", 0, 0.2), ("a", 0.2, 0.1)], "'a', ends at 0.1 s and begins at 0.2 s"),
        ([("m", 0, 0.5)], "ends at 0.5 s, beyond the sound, which lasts 0.4 s"),
        ([("m", 0, 0.3)], "ends at 0.3 s and its sound at 0.4 s; write a pause"),
        ([("m", 0, float("nan"))], "a time that is no number"),
        ([], "has no phoneme"),
    ],
)
def test_refused_times(phones, message):
    with pytest.raises(InputError, match=message) as refused:
        check_phonemes([Phoneme(symbol, float(start), float(end)) for symbol, start, end in phones], "it", seconds=0.4)
    assert str(refused.value).startswith("it") and str(refused.value).endswith(".")


def test_rounded_times_of_neighbours_become_equal():
    first, second = check_phonemes([Phoneme("m", 0.001, 0.1), Phoneme("a", 0.101, 0.41)], "it", seconds=0.4)
    assert first.start == 0 and first.end == second.start == 0.1


def test_a_text_is_aligned_with_its_sound():
    found, samples = align_text("A map.")
    assert check_phonemes(found.phonemes, "it", len(samples) / 16000) and len(found.words) == 2
