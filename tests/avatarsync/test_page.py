"""The examples of docs/avatarsync.md, as they stand there, one after the other."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from actavatar_jax import avatarsync
from tests.avatarsync.drawn import random_params
from tests.avatarsync.test_recognition import PHONEMES, save_recogniser
from tests.commands import actavatar, refused
from tests.media.sounds import encode, tones

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "avatarsync.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
def test_the_examples_of_the_page(quick_compilation, capsys):
    names = {"drawn": lambda module, config, key: random_params(module, config)}
    slow = "draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)"
    for block in blocks("python"):
        if "from_pretrained" in block:  # which needs a trained model: tests/puppets/avatarsync
            continue
        exec(block.replace(slow, "draw = drawn"), names)
    frames, plan = names["frames"], names["plan"]
    assert "('b', " in capsys.readouterr().out
    assert frames.shape == (round(25 * names["spoken"].seconds), 32, 32, 3) and frames.dtype == np.float32
    assert frames.min() >= 0 and frames.max() <= 1
    on = [int(keyframe.time) for keyframe in plan.keyframes]
    np.testing.assert_array_equal(frames[on], names["pictures"])


def test_the_commands_of_the_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)
    ends = [("sil", 0.2), ("HH", 0.3), ("OW1", 0.6), ("sil", 0.8)]
    starts = [0, *(end for _, end in ends)]
    intervals = "".join(f'{start}\n{end}\n"{label}"\n' for start, (label, end) in zip(starts, ends, strict=False))
    grid = f'"ooTextFile"\n"TextGrid"\n0\n0.8\n<exists>\n1\n"IntervalTier"\n"phones"\n0\n0.8\n4\n{intervals}'
    Path("said.TextGrid").write_text(f"File type = {grid}")
    encode(Path("said.wav"), tones(16000, 0.8, 300), 16000)
    _, commands, *_ = blocks("bash")
    text, chinese, file, words = (shlex.split(line) for line in commands.splitlines())
    assert text[0] == chinese[0] == file[0] == words[0] == "actavatar"
    assert actavatar(*text[1:]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[2:4] == ["b", "p"] for line in lines)  # the lips shut for the p of "map"
    assert lines[-1].startswith(f"{len(lines) - 2} units in ")
    assert actavatar(*chinese[1:]) == 0
    assert ["v", "qu4"] in [line.split()[2:4] for line in capsys.readouterr().out.splitlines()]
    assert actavatar(*file[1:]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[1].split()[:4] == ["0.000", "0.200", "sil", "sil"]
    assert "in 0.80 s" in table[-1] and table[-1].endswith("of 20 frames")
    assert actavatar(*words[1:]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines[1:-1]] == ["/a/", "/b-ae-b/", "/uh-f/", "/b-ai/", "/h-ou-b/"]
    assert lines[2][3:6] == ["m", "ˈæ", "p"] and lines[-1][:2] == ["5", "units"]
    refused(capsys, "Units of words need the times at which words begin", *file[1:], "--level", "words")
    refused(capsys, "'syllables'; accepted is phonemes, words", *text[1:], "--level", "syllables")
    refused(capsys, "or with --aligner; a text is spoken: leave --audio out", *text[1:], "--audio", "said.wav")
    refused(capsys, "notation of phonemes is 'sampa'", *file[1:], "--notation", "sampa")
    refused(capsys, "leave --notation out", *text[1:], "--notation", "ipa")
    encode(Path("said.wav"), tones(16000, 1.2, 300), 16000)
    refused(capsys, "said.TextGrid", *file[1:])


def test_the_commands_that_align_a_recording(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)
    encode(Path("said.wav"), tones(16000, 0.8, 300), 16000)
    heard, told = (shlex.split(line)[1:] for line in blocks("bash")[2].splitlines())
    save_recogniser(Path(heard[heard.index("--aligner") + 1]), PHONEMES)
    assert actavatar(*heard) == actavatar(*told) == 0
    assert capsys.readouterr().out.count("units in 0.80 s") == 2
    assert actavatar(*told, "--level", "words") == 0 and "5 units" in capsys.readouterr().out
    refused(capsys, "Units of words need the times at which words begin", *heard, "--level", "words")


def test_the_json_of_the_page(tmp_path):
    (text,) = blocks("json")
    (tmp_path / "said.json").write_text(text)
    found = avatarsync.read_alignment(tmp_path / "said.json", seconds=0.31)
    assert len(found.phonemes) == len(json.loads(text)["phonemes"]) and found.words == (0.25,)
