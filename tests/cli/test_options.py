"""Options of the commands, without a model."""

import json

import jax
import pytest

from actavatar_jax import InputError, encoders, parallel
from actavatar_jax.runs import jobs
from data_pipelines import shards
from data_pipelines.table import StepReport
from tests.commands import actavatar, refused


def test_options_that_are_not_given_are_left_to_the_model(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(jobs, "run_jobs", lambda model, rows, **loading: made.extend(rows) or 0)
    single = ("--model", "m", "--image", "a.png", "--audio", "a.wav", "--prompt", "A man.", "--out", tmp_path / "x.mp4")
    assert actavatar("sample", *single) == 0
    every = {
        "steps": 8, "solver": "euler", "shift": 3.0, "text_guidance": 2.0, "audio_guidance": 0.0,
        "guidance": "audio_only", "guidance_interval": (0.2, 0.9), "skip": 0.0, "negative_prompt": "", "num_frames": 9,
        "height": 64, "width": 96, "seed": 0, "phase_time": "relay", "rate": 16, "seconds": 4.0, "overlap": 2,
    }  # fmt: skip
    names = {name: f"--{name.replace('_', '-')}" for name in every} | {"num_frames": "--frames"}
    given = []
    for name, value in every.items():
        given += [names[name], *(value if isinstance(value, tuple) else (value,))]
    assert actavatar("sample", *single, *given, "--anyway", "--hold-colours") == 0
    switches = {"anyway": True, "hold_colours": True}
    assert [row.options for row in made] == [{}, every | switches]
    assert set(every) | set(switches) == set(jobs.OPTIONS)


SINGLE = ("--model", "m", "--image", "a.png", "--audio", "a.wav", "--prompt", "A man.", "--out")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ((), [("x", None)]),
        (("--seed", 7), [("x", 7)]),
        (("--seed", 2**64 - 1), [("x", 2**64 - 1)]),
        (("--num-videos", 2), [("x-seed0", 0), ("x-seed1", 1)]),
        (("--seed", 7, "--num-videos", 3), [("x-seed7", 7), ("x-seed8", 8), ("x-seed9", 9)]),
        (("--seed", 9, "--seed", 2), [("x-seed9", 9), ("x-seed2", 2)]),
    ],
)
def test_every_seed_has_its_video(monkeypatch, tmp_path, given, made):
    seen = []
    monkeypatch.setattr(jobs, "run_jobs", lambda model, rows, **_: seen.extend(rows) or 0)
    assert actavatar("sample", *SINGLE, tmp_path / "x.mp4", *given) == 0
    assert [(row.out, row.options.get("seed")) for row in seen] == [
        (str(tmp_path / f"{name}.mp4"), seed) for name, seed in made
    ]


def test_lines_of_a_jobs_file_get_seeds_from_their_own_on(monkeypatch, tmp_path):
    row, seen = {"image": "a.png", "audio": "a.wav", "prompt": "A man."}, []
    monkeypatch.setattr(jobs, "run_jobs", lambda model, rows, **_: seen.extend(rows) or 0)
    lines = [row | {"out": "x.mp4"}, row | {"out": "y.mp4", "seed": 5}]
    (tmp_path / "jobs.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert actavatar("sample", "--model", "m", "--jobs", tmp_path / "jobs.jsonl", "--num-videos", 2) == 0
    assert [row.out for row in seen] == ["x-seed0.mp4", "x-seed1.mp4", "y-seed5.mp4", "y-seed6.mp4"]


def test_seeds_and_a_number_of_videos_exclude_each_other(capsys, tmp_path):
    refused(
        capsys, "2 seeds and 3 videos are asked for", "sample", *SINGLE, tmp_path / "x.mp4",
        "--seed", 1, "--seed", 2, "--num-videos", 3,
    )  # fmt: skip
    refused(
        capsys,
        "seeds [3, 7, 3] some are alike",
        "sample",
        *SINGLE,
        tmp_path / "x.mp4",
        *["--seed", 3, "--seed", 7, "--seed", 3],
    )


def test_a_mesh_goes_to_the_pipeline_and_a_cluster_is_joined_first(monkeypatch, tmp_path):
    done = []
    monkeypatch.setattr(parallel, "join_cluster", lambda: done.append("joined"))
    monkeypatch.setattr(jobs, "run_jobs", lambda model, rows, *, mesh, **_: done.append(mesh) or 0)
    assert actavatar("sample", *SINGLE, tmp_path / "x.mp4", "--mesh", "1,2,4", "--distributed") == 0
    assert done == ["joined", "1,2,4"]


def test_a_cluster_that_is_none_is_told(monkeypatch, tmp_path, capsys):
    def initialize(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    refused(capsys, "--distributed finds no cluster", "sample", *SINGLE, tmp_path / "x.mp4", "--distributed")


def test_the_watchdog_has_the_minutes_that_are_given(monkeypatch, tmp_path):
    given = []
    monkeypatch.setattr(jobs, "run_jobs", lambda *_, stall_minutes, **__: given.append(stall_minutes) or 0)
    single = ("--model", "m", "--image", "a.png", "--audio", "a.wav", "--prompt", "A man.", "--out", tmp_path / "x.mp4")
    assert actavatar("sample", *single) == actavatar("sample", *single, "--stall-minutes", 0) == 0
    assert given == [30, 0]


def test_a_line_of_a_jobs_file_wins_over_the_command(tmp_path):
    row = {"image": "a.png", "audio": "a.wav", "prompt": "A man.", "out": "x.mp4"}
    file = tmp_path / "jobs.jsonl"
    file.write_text(json.dumps(row) + "\n" + json.dumps(row | {"steps": 3, "anyway": False, "out": "y.mp4"}))
    first, second = jobs.read_jobs(file, {"steps": 8, "anyway": True})
    assert (first.options, second.options) == ({"steps": 8, "anyway": True}, {"steps": 3, "anyway": False})
    file.write_text(json.dumps(row | {"pace": 3}) + "\n" + json.dumps(row | {"anyway": "no"}))
    with pytest.raises(
        InputError, match=r"line 1: pace is unknown .*line 2: anyway is 'no', accepted is true or false"
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


def test_texts_of_clips_are_bare_where_that_is_asked_for(monkeypatch):
    made = []
    monkeypatch.setattr(encoders.Encoders, "from_folder", lambda *_, **__: None)
    monkeypatch.setattr(shards, "encode_clips", lambda *_, anchors, **__: made.append(anchors) or StepReport("encoded"))
    monkeypatch.setattr(StepReport, "check", lambda self: None)
    for given in ((), ("--anchors",), ("--no-anchors",)):
        assert actavatar("encode", "clips", "shards", "--model", "m", *given) == 0
    assert made == [True, True, False]


def test_the_split_of_encode_is_handed_on(monkeypatch):
    """docs/corpora.md: clips that are held back for tests go into a folder of their own."""
    asked = []

    def encode_clips(clip_dir, shard_dir, parts, **settings):
        asked.append(settings["split"])
        return StepReport("nothing")

    monkeypatch.setattr(shards, "encode_clips", encode_clips)
    monkeypatch.setattr(encoders.Encoders, "from_folder", lambda *_, **__: None)
    for options in ((), ("--split", "test")):
        actavatar("encode", "clips", "shards", "--model", "model", *options)
    assert asked == [None, "test"]
