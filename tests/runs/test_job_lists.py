"""Jobs files: what a line may hold, all problems at once, and which videos are finished."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.media import Video
from actavatar_jax.runs.job_lists import Job, check_inputs, is_finished, read_jobs
from tests.media.sounds import encode, tones

ROW = {"image": "a.png", "audio": "a.wav", "prompt": "A man.", "out": "o.mp4"}


def jobs(tmp_path: Path, *rows, encoding: str = "utf-8", **shared) -> list[Job]:
    lines = [row if isinstance(row, str) else json.dumps(ROW | row, ensure_ascii=False) for row in rows]
    (tmp_path / "jobs.jsonl").write_bytes("\n".join(lines).encode(encoding))
    return read_jobs(tmp_path / "jobs.jsonl", shared)


def refused(tmp_path: Path, *rows) -> str:
    with pytest.raises(InputError) as error:
        jobs(tmp_path, *rows)
    assert len(str(error.value)) <= 400
    return str(error.value)


def test_a_line_has_the_options_of_sampling(tmp_path):
    options = {"steps": 4, "shift": 5, "guidance_interval": [0.1, 0.9], "negative_prompt": None, "seed": 2**32 - 1}
    (job,) = jobs(tmp_path, options | {"prompt": {"base": "A man.", "phases": []}, "anyway": True}, height=64)
    assert job.options["shift"] == 5.0 and job.options["guidance_interval"] == (0.1, 0.9)
    assert job.options.keys() == {*options, "anyway", "height"} and job.prompt["base"] == "A man."


@pytest.mark.parametrize("letter", ["\u2028", "\u0085", "\u2029"])
def test_letters_that_look_like_line_ends_are_letters(tmp_path, letter):
    assert [job.prompt for job in jobs(tmp_path, {"prompt": f"A{letter}B"})] == [f"A{letter}B"]


def test_windows_writes_other_files(tmp_path):
    assert [job.out for job in jobs(tmp_path, json.dumps(ROW) + "\r", "\r", encoding="utf-8-sig")] == ["o.mp4"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"steps": "4"}, "line 1: steps is '4', accepted is a whole number"),
        ({"steps": 4.5}, "steps is 4.5, accepted is a whole number"),
        ({"steps": True}, "steps is True, accepted is a whole number"),
        ({"shift": "5"}, "shift is '5', accepted is a number"),
        ({"shift": float("nan")}, "line 1 holds nan"),
        ({"guidance_interval": [0.1]}, "guidance_interval"),
        ({"anyway": 1}, "anyway is 1, accepted is true or false"),
        ({"image": ""}, "image is '', accepted is text that is not empty"),
        ({"image": None, "audio": ["a.wav"]}, "image is None, accepted is text; audio is ['a.wav'], accepted is text"),
        ({"prompt": 5}, "prompt is 5, accepted is text or an object"),
        ({"prompt": {}, "pace": 1}, "pace is unknown (accepted are image, audio, prompt, out, steps"),
        ('{"image": "a.png"}', "audio is missing; prompt is missing; out is missing"),
        ('["a.png"]', "line 1: it is ['a.png'], accepted is an object"),
        ("image: a.png", "line 1 is no JSON"),
        ("", "is empty; give a JSON object a line with image, audio, prompt, out"),
    ],
)
def test_what_a_line_may_not_hold_is_told(tmp_path, row, said):
    assert said in refused(tmp_path, row)


def test_all_bad_lines_are_told(tmp_path):
    said = refused(tmp_path, {"steps": "4"}, {"out": "p.mp4"}, "{", {"out": "q.mp4", "seed": "x"})
    assert "line 1: " in said and "line 3 is no JSON" in said and "line 4: " in said and "line 2" not in said


def test_a_thousand_bad_lines_are_one_sentence(tmp_path):
    assert refused(tmp_path, *[{"steps": "x" * 1000}] * 1000).endswith("more.")


def test_two_lines_for_one_video_are_told_with_their_numbers(tmp_path):
    os.makedirs(tmp_path / "there")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    outs = [str(tmp_path / place) for place in ("there/a.mp4", "b.mp4", "there/../there/a.mp4", "link/a.mp4")]
    said = refused(tmp_path, "", *({"out": out} for out in outs))
    assert "lines 2 and 4 have the same output" in said and "lines 2 and 5 have the same output" in said


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"jobs\.jsonl is missing"):
        read_jobs(tmp_path / "jobs.jsonl", {})
    os.mkfifo(tmp_path / "jobs.jsonl")
    with pytest.raises(InputError, match="is a pipe"):
        read_jobs(tmp_path / "jobs.jsonl", {})


def test_finished_is_a_video_that_opens(tmp_path):
    job = Job("a.png", "a.wav", "A man.", str(tmp_path / "o.mp4"), {})
    assert not is_finished(job)
    Video(np.zeros((5, 32, 32, 3), np.uint8)).save(job.out)
    assert is_finished(job)
    whole = Path(job.out).read_bytes()
    for content in (b"", b"<html>", whole[: len(whole) // 2], bytes(len(whole))):
        Path(job.out).write_bytes(content)
        assert not is_finished(job)
    Path(job.out).unlink()
    Path(job.out).symlink_to(tmp_path / "nothing")
    assert not is_finished(job)


def test_windows_of_a_job_are_in_the_seconds_of_its_rate(tmp_path):
    """Nine frames are 0.36 s at 25 a second and 0.5625 s at 16."""
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "face.png")
    encode(tmp_path / "speech.wav", tones(16000, 1.0, 300), 16000)

    def check(own, **options):
        files = str(tmp_path / "face.png"), str(tmp_path / "speech.wav")
        check_inputs(Job(*files, "A man. [0.3-0.6s] Nods.", "o.mp4", options), 9, own)

    check(16)
    check(25, rate=16)
    check(16, rate=25, num_frames=13)
    check(16, seconds="speech")
    for own, options in ((25, {}), (16, {"rate": 25}), (16, {"seconds": 0.3})):
        with pytest.raises(InputError, match="reaches past the end"):
            check(own, **options)
    with pytest.raises(InputError, match="rate is 0; accepted is 16 or 25"):
        check(25, rate=0)
