"""JSON, JSON lines and YAML of other people: what they may hold, and one sentence for everything else."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actavatar_jax.errors import InputError
from actavatar_jax.storage import (
    find_json_objects,
    parse_json,
    parse_yaml,
    plain,
    read_json,
    read_json_lines,
    read_yaml,
)

texts = st.text(st.characters(codec="utf-8"))
keys = st.text(st.characters(codec="utf-8"), max_size=40)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts
values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def refused(call, *arguments) -> str:
    with pytest.raises(InputError) as error:
        call(*arguments)
    said = str(error.value)
    assert len(said) <= 400 and said.isprintable(), said
    return said


@given(values)
def test_json_is_what_python_reads(value):
    assert parse_json(json.dumps(value), "it", object) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode("utf-8-sig"), "it", object) == value
    assert plain(value) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", r"Expecting property name enclosed in double quotes at column 2, it ends there"),
        ('{"a": 1,\n"b" 2}', r"Expecting ':' delimiter at line 2, column 5, found '2}'"),
        ("", "at column 1, it ends there"),
        ("[]", "it holds a list; expected an object"),
        ("null", "it holds nothing; expected an object"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' twice"),
        ('{"a": NaN}', "holds nan, which is no number"),
        ('{"a": [-Infinity]}', "holds -inf, which is no number"),
        ('{"a": 1e999}', "holds inf, which is no number"),
        (f'{{"a": {"9" * 50}}}', "a whole number of about 50 digits; accepted are up to 128 bits"),
        (f'{{"a": {"9" * 5000}}}', "a whole number of thousands of digits"),
        ('{"a": "\\ud83d"}', r"half of a Unicode character in '\ud83d'"),
        ('{"\\udc00": 1}', "half of a Unicode character"),
        ("[" * 100_000, "nested too deep; accepted are up to 64 levels"),
        ("[" * 65 + "]" * 65, "nested too deep"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested too deep"),
    ],
)
def test_what_json_may_not_hold_is_told(text, said):
    assert said in refused(parse_json, text, "it")


def test_as_deep_as_is_accepted():
    assert parse_json("[" * 64 + "]" * 64, "it", list) is not None


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "is missing"), (b"{", "is no JSON file"), (b"\xff{}", "is not UTF-8 text (byte 0xff at 0)")],
)
def test_the_file_is_named(tmp_path, content, said):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    told = refused(read_json, path)
    assert said in told and str(path) in told


def test_a_mark_at_the_beginning_is_no_part_of_it(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}', encoding="utf-8-sig")
    (tmp_path / "a.yaml").write_text("a: 1", encoding="utf-8-sig")
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == {"a": 1}


# ---- JSON lines


def test_lines_end_at_line_feeds_only(tmp_path):
    texts = ["a\u2028b", "a\u0085b", "a\u2029b", "a\x0bb", "a\x1cb"]
    lines = [json.dumps({"a": text}, ensure_ascii=False) for text in texts]
    (tmp_path / "a.jsonl").write_bytes(
        ("\ufeff" + "\r\n".join(lines) + "\n\n \n" + '{"a": "\r"}'.replace("\r", "\\r")).encode()
    )
    rows = list(read_json_lines(tmp_path / "a.jsonl"))
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5, 8]
    assert [row["a"] for _, row in rows] == [*texts, "\r"]


def test_one_bad_line_is_one_value(tmp_path):
    bad = [b"{", b"[1]", b"\xff", b'{"a": "' + b"x" * 200 + b'"}', b'{"a": NaN}', b"\0\0\0"]
    good = b'{"a": 1}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(part for line in bad for part in (good, line)) + b"\n" + good)
    rows = dict(read_json_lines(tmp_path / "a.jsonl", limit=100))
    assert [rows[k] for k in range(1, 14, 2)] == [{"a": 1}] * 7
    said = [str(rows[k]) for k in range(2, 14, 2)]
    words = [
        "is no JSON",
        "holds a list",
        "not UTF-8",
        "too long; accepted are up to 100 bytes",
        "holds nan",
        "is no JSON",
    ]
    assert all(word in text for word, text in zip(words, said, strict=True)), said
    assert all(f"a.jsonl line {2 * k + 2}" in text for k, text in enumerate(said))


def test_what_python_wrote_may_have_numbers_that_are_none(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"a": [math.nan, math.inf]}))
    ((_, row),) = read_json_lines(tmp_path / "a.jsonl", finite=False)
    assert math.isnan(row["a"][0]) and row["a"][1] == math.inf


# ---- YAML


@given(values)
def test_yaml_reads_json(value):
    assert parse_yaml(json.dumps({"a": value}), "it") == {"a": value}


def test_dates_are_texts():
    text = "a: 2024-02-30\nb: 2001-12-14t21:59:43.10-05:00\nc: 2026-13-45"
    assert parse_yaml(text, "it") == {"a": "2024-02-30", "b": "2001-12-14t21:59:43.10-05:00", "c": "2026-13-45"}


def test_numbers_are_those_of_json():
    found = parse_yaml("[1e-5, -2E3, 1e5x, 1e5 apples, '1e5', 0x10, 1_000, .5]", "it", list)
    assert found == [1e-5, -2000.0, "1e5x", "1e5 apples", "1e5", 16, 1000, 0.5]


def test_aliases_that_do_not_multiply_are_accepted():
    assert parse_yaml("a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2", "it") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }


def laughs(levels: int, width: int = 9) -> str:
    lines = ["l0: &l0 [x, x]"]
    lines += [f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * width)}]" for k in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(10), "its aliases (*name) stand for more than 100,000 values at line"),
        (laughs(6).replace("[x, x]", "{x: 1}").replace("[", "{<<: [").replace("]", "]}"), "stand for more than"),
        ("a: &a [*a]", "nested too deep"),
        ("[" * 5000, "nested too deep; accepted are up to 64 levels"),
        ("- " * 100 + "x", "nested too deep"),
        ("a: [", "is not valid YAML: expected the node content, but found '<stream end>' (while parsing a flow node)"),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice in one mapping"),
        ("1: 2", "the key 1 is no text"),
        ("? [a]\n: 2", "the key ['a'] is no text"),
        ("a: .nan", "holds nan"),
        ("a: !!binary aGk=", "holds b'hi'"),
        ("a: !!set {b}", "holds {'b'}"),
        ("a: !!timestamp 2001-01-01", "holds datetime.date(2001, 1, 1)"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        (f"a: {'9' * 5000}", "is not valid YAML"),
        (f"a: {'9' * 50}", "about 50 digits"),
        ("a: \x01", "is not valid YAML: unacceptable character"),
        ("a: !!bool x", "is not valid YAML: 'x'"),
        ("a: !!int x", "is not valid YAML: invalid literal"),
        ("a: !!int ''", "is not valid YAML"),
        ("a: !!float x", "is not valid YAML"),
        ("a: !!timestamp x", "is not valid YAML"),
        ("a: !!binary é", "is not valid YAML"),
        ("a: !!map x", "is not valid YAML"),
        ("a: !!pairs [x]", "is not valid YAML"),
        ("<<: x", "is not valid YAML"),
        ("a: &x 1\nb: *y", "found undefined alias 'y'"),
        ("a: &x 1\nb: &x 2\n", "found duplicate anchor"),
        ("a: 1\n---\nb: 2", "found another document"),
        ("- a", "holds a list; expected an object"),
        ("", "holds nothing; expected an object"),
    ],
)
def test_what_yaml_may_not_hold_is_told(text, said):
    begun = time.process_time()
    assert said in refused(parse_yaml, text, "it")
    assert time.process_time() - begun < 5


# ---- objects in prose


def test_objects_are_found_in_prose():
    text = 'Well {then}: {"a": 1} or [{"b": {"c": 2}}] {"d": 1, "d": 2} {"e": NaN} {"f": "}'
    assert list(find_json_objects(text)) == [{"a": 1.0}, {"b": {"c": 2.0}}]
    assert [*map(type, next(find_json_objects('{"a": 1}')).values())] == [float]


@pytest.mark.parametrize("text", ["{" * 130_000, '{"a":' * 26_000, '{"' * 65_000, '{"a' + "x{" * 60_000])
def test_prose_of_braces_takes_no_time(text):
    begun = time.process_time()
    assert list(find_json_objects(text)) == []
    assert time.process_time() - begun < 2
