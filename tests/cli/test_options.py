"""Options of the commands, without a model."""

import json

import pytest

from actavatar_jax import InputError
from actavatar_jax.runs import jobs
from tests.commands import actavatar, refused


def test_options_that_are_not_given_are_left_to_the_model(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(jobs, "run_jobs", lambda model, rows, **loading: made.extend(rows) or 0)
    single = ("--model", "m", "--image", "a.png", "--audio", "a.wav", "--prompt", "A man.", "--out", tmp_path / "x.mp4")
    assert actavatar("sample", *single) == 0
    every = {
        "steps": 8, "solver": "euler", "shift": 3.0, "text_guidance": 2.0, "audio_guidance": 0.0,
        "guidance": "audio_only", "guidance_interval": (0.2, 0.9), "skip": 0.0, "negative_prompt": "", "num_frames": 9,
        "height": 64, "width": 96, "seed": 0,
    }  # fmt: skip
    names = {name: f"--{name.replace('_', '-')}" for name in every} | {"num_frames": "--frames"}
    given = []
    for name, value in every.items():
        given += [names[name], *(value if isinstance(value, tuple) else (value,))]
    assert actavatar("sample", *single, *given, "--anyway") == 0
    assert [row.options for row in made] == [{}, every | {"anyway": True}]
    assert set(every) | {"anyway"} == set(jobs.OPTIONS)


def test_the_watchdog_has_the_minutes_that_are_given(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(jobs, "run_jobs", lambda *_, stall_minutes, **__: given.append(stall_minutes) or 0)
    single = ("--model", "m", "--image", "a.png", "--audio", "a.wav", "--prompt", "A man.", "--out", tmp_path / "x.mp4")
    assert actavatar("sample", *single) == actavatar("sample", *single, "--stall-minutes", 0) == 0
    assert given == [30, 0]


def test_a_line_of_a_jobs_file_wins_over_the_command(tmp_path):
    row = {"image": "a.png", "audio": "a.wav", "prompt": "A man.", "out": "x.mp4"}
    file = tmp_path / "jobs.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row | {"steps": 3, "anyway": False}))
    first, second = jobs.read_jobs(file, {"steps": 8, "anyway": True})
    assert (first.options, second.options) == ({"steps": 8, "anyway": True}, {"steps": 3, "anyway": False})
    file.write_text(json.dumps(row | {"pace": 3}) + "\n" + json.dumps(row | {"anyway": "no"}))
    with pytest.raises(
        InputError, match="line 1 has unknown pace; line 2 has an anyway that is neither true nor false"
    ):
        jobs.read_jobs(file, {})


def test_missing_parts_are_named(tmp_path, capsys):
    refused(capsys, "--prompt", "sample", "--model", tmp_path, "--image", "a.png", "--audio", "b.wav", "--out", "c.mp4")
    everything = ("--image", "a.png", "--audio", "b.wav", "--prompt", "A man.", "--out", tmp_path / "c.mp4")
    refused(capsys, "no model folder", "sample", "--model", tmp_path / "absent", *everything)
    refused(capsys, "no video", "prepare", tmp_path, tmp_path / "clips")


def test_prompt_check_shows_the_timeline_or_all_problems(capsys):
    text = "A woman in business attire. [0-2s] Gestures outward. [2-4s] Points down."
    assert actavatar("prompt", "check", text, "--seconds", 5) == 0
    shown = capsys.readouterr().out
    assert "Phase-1 [0-2s]: Gestures outward." in shown
    refused(capsys, "7", "prompt", "check", "A woman. [3-2s] Waves. [4-7s] ", "--seconds", 5)
