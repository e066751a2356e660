"""`prompt check`: what was understood, or one sentence."""

import pytest

from tests.commands import actavatar, refused


@pytest.mark.parametrize(
    ("prompt", "seconds"),
    [
        ('{"base": "A man.", "phases": [{"start": 0, "end": 2, "action": "Waves."}]}', None),
        ("base: A man.\nphases: [{start: 0, end: 2, action: Waves.}]", 5),
        ("A man. [0%-40%] Waves.", 5),
        ("A man.\n- 0:00~0:02: Waves.", 5),
    ],
)
def test_what_was_understood_is_shown(prompt, seconds, capsys):
    assert actavatar("prompt", "check", prompt, *(("--seconds", seconds) if seconds else ())) == 0
    shown = capsys.readouterr().out
    assert "A man. Phase-1 [0-2s]: Waves.\n" in shown and "note:" not in shown


def test_what_may_be_meant_otherwise_is_noted(capsys):
    assert actavatar("prompt", "check", "A man waves for 1-2s.") == 0
    shown = capsys.readouterr().out
    assert "note: no windows found in the prompt; the whole clip has one description\n" in shown
    assert "note: read as words, not as windows such as [0-2s]: '1-2s'\n" in shown


def test_what_is_wrong_is_one_sentence(capsys, tmp_path):
    refused(capsys, "'[0-2 Sekunden]' is no time window", "prompt", "check", "A man. [0-2 Sekunden] Winkt.")
    refused(capsys, "is a share of a clip whose length is not known", "prompt", "check", "A man. [0%-40%] Waves.")
    refused(capsys, "The prompt is no JSON", "prompt", "check", '{"base": "A man."')
    refused(capsys, "half of a character", "prompt", "check", "A man \udcff.")
    refused(capsys, "value of --seconds is nan", "prompt", "check", "A man.", "--seconds", "nan")
    refused(capsys, "tokenizer", "prompt", "check", "A man.", "--model", tmp_path)
