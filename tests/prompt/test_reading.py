"""Prompts as text, JSON and YAML, in strings and files; everything odd is taken or told in one sentence, quickly."""

import json
import os

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.prompt import Phase, StructuredPrompt

ONE = StructuredPrompt("A man.", (Phase(0, 2, "Waves."),))
AS_JSON = json.dumps(ONE.to_dict())
AS_YAML = "base: A man.\nphases:\n- {start: 0, end: 2, action: Waves.}\n"


def refused(source):
    """The one sentence that a prompt is refused with."""
    with pytest.raises(InputError) as error:
        StructuredPrompt.coerce(source)
    sentence = str(error.value)
    assert len(sentence) <= 400 and "\n" not in sentence and sentence.endswith(".")
    return sentence


@pytest.mark.parametrize(
    "text",
    [
        AS_JSON, json.dumps(ONE.to_dict(), indent=2), f"\n {AS_JSON}\n", AS_YAML, f"---\n{AS_YAML}",
        "{base: A man., phases: [{start: 0, end: 2, action: Waves.}]}",
        'phases: [{start: 0, end: 2, action: Waves.}]\nbase: "A man."',
    ],
)  # fmt: skip
def test_documents_as_text_are_documents(text, tmp_path):
    assert StructuredPrompt.coerce(text) == ONE
    (tmp_path / "p.txt").write_text(text)
    assert StructuredPrompt.coerce(tmp_path / "p.txt") == ONE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (AS_JSON[:-1], "The prompt is no JSON"),
        (AS_JSON + " and more", "The prompt is no JSON: Extra data"),
        ("{", "The prompt is no JSON"),
        ("{'base': 'A man.'}", "The prompt is no JSON"),
        ('[{"start": 0, "end": 2, "action": "x"}]', "it is list, not a mapping with the keys base"),
        ('{"base": "a", "base": "b"}', "the key 'base' twice"),
        ("base: A man.\nphases: [", "The prompt is not valid YAML"),
        ("base: A man.\nbase: b", "'base' stands twice"),
        ("base: A man.\nphases:", "'phases' is None, not a list"),
        (f"The prompt: {AS_JSON}", "'\"base\":' is of JSON, which has to be all of a prompt"),
        ("{}", "it has no key 'base'"),
    ],
)
def test_documents_that_are_none_are_told_as_such(text, words):
    assert words in refused(text)


@pytest.mark.parametrize(
    "text", ["{smiling} A woman.", "Base: a man.", "A man. (base: 3)", "based: x", "[smiling] He."]
)
def test_prose_is_no_document(text):
    assert StructuredPrompt.coerce(text).base == text


LAUGHS = b"a0: &a0 [x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
)
ANCHORS = b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (n, n) for n in range(20))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b"{", "is no JSON"),
        ("b.yaml", b"a: [", "not valid YAML"),
        ("c.txt", b"\xff\xfea", "is not UTF-8"),
        ("d.json", b"[" * 9999, "nested too deep"),
        ("e.yaml", b"[" * 9999, "nested too deep"),
        ("f.json", b'{"base": "a", "phases": [{"start": 0, "end": 1%s, "action": "x"}]}' % (b"0" * 5000), "digits"),
        ("g.yaml", b"base: a\nphases: [{start: 0, end: 1%s, action: x}]" % (b"0" * 5000), "digits"),
        ("h.yaml", ANCHORS, "unknown key 'a'"),
        ("i.yaml", LAUGHS, "aliases"),
        ("j.json", b'{"base": "\\ud800"}', "half of a Unicode character"),
        ("k.json", b'{"base": "a", "phases": [{"start": NaN, "end": 1, "action": "x"}]}', "holds nan"),
        ("l.txt", b"a" * 20_001, "has 20,001 characters"),
        ("m.txt", b"a" * 2**21, "too large"),
    ],
)  # fmt: skip
def test_faulty_files_are_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    sentence = refused(tmp_path / name)
    assert words in sentence
    assert name in sentence


def test_files_that_are_none_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.txt")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "endless.txt").symlink_to("/dev/zero")
    assert "is a pipe" in refused("pipe.txt")
    assert "Is a directory" in refused("folder.json")
    assert "is a device" in refused("endless.txt")
    assert "missing.yaml is missing" in refused("missing.yaml")
    assert "my prompt.json is missing" in refused("my prompt.json")
    assert "missing" in refused("x" * 300 + ".json") or "cannot be read" in refused("x" * 300 + ".json")
    assert StructuredPrompt.coerce("A man reads notes.txt").base == "A man reads notes.txt"


def test_text_of_windows_and_of_other_hands(tmp_path):
    path = tmp_path / "p.txt"
    path.write_bytes("\ufeffA man.\r\n\r\n[0-2s] Wa\0ves \u202e\U0001f600.\r\n".encode())
    prompt = StructuredPrompt.load(path)
    assert prompt.base == "A man." and [phase.action for phase in prompt.phases] == ["Waves \u202e\U0001f600."]
    assert "half of a character" in refused("A man \udcff.")
    assert StructuredPrompt.parse("A \ud83d\ude00 man.").base == "A \U0001f600 man."


def test_all_that_is_wrong_with_a_document_is_told_at_once():
    rows = [
        {"start": "0", "end": 2, "action": "x"},
        {"start": 3, "end": 1, "action": "y"},
        {"start": -1, "end": 1, "action": ""},
        [1, 2],
    ]
    sentence = refused({"base": "A man.", "phases": rows, "extra": 1})
    for words in ("unknown key 'extra'", "'start' is '0'", "entry 4 of 'phases' is list", "negative time"):
        assert words in sentence
    assert "no action" in sentence or "more" in sentence
    assert "more" in refused({"base": "A man.", "phases": [{"start": "0"}] * 50})
    assert "1,001 phases" in refused({"base": "A man.", "phases": [{"start": 0, "end": 1, "action": "x"}] * 1001})
    long = refused({"base": ["x" * 1000] * 1000})
    assert long.count("x") < 61


def test_files_of_other_names_are_read_if_they_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p.md", "a prompt.yaml", "a prompt.txt"):
        (tmp_path / name).write_text(AS_YAML)
        assert StructuredPrompt.coerce(name) == StructuredPrompt.coerce(f" {tmp_path / name}\n") == ONE
    assert StructuredPrompt.coerce("q.md").base == "q.md"
