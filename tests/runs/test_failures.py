"""A job that fails, however it does, costs one video; of failures that will not end, somebody is told."""

import errno

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.media import Video
from actavatar_jax.pipeline import ActAvatarPipeline
from actavatar_jax.puppets.demo import SHIPPED
from actavatar_jax.runs.jobs import Job, run_jobs
from tests.media.sounds import encode, tones
from tests.parallel.pairs import ends_of_two, errors

GONE = OSError("the device is gone\nfor good")


class Scripted(ActAvatarPipeline):
    """Raises one error of a script after the other, or makes a video where it has None."""

    def __init__(self, script):
        self.script = list(script)

    def __call__(self, image, audio, prompt, *, callback):
        if error := self.script.pop(0):
            raise error
        return Video(np.zeros((2, 16, 16, 3), np.uint8), np.zeros(1280, np.float32))


@pytest.fixture
def run(tmp_path):
    """run(errors) -> (failed, tried, made)"""

    def run(*script):
        pipeline = Scripted(script)
        failed = run_jobs(pipeline, [Job("", "", "", str(tmp_path / f"{n}.mp4"), {}) for n in range(len(script))])
        return failed, len(script) - len(pipeline.script), sorted(int(path.stem) for path in tmp_path.glob("*.mp4"))

    return run


def test_the_jobs_behind_a_failure_are_made(run, capsys, caplog):
    script = [None, GONE, None, MemoryError(), InputError("The portrait is absent."), None]
    assert run(*script) == (3, 6, [0, 2, 5])
    said = errors(capsys.readouterr().err)
    assert [line.partition(".mp4: ")[2] for line in said] == [
        "OSError: the device is gone",
        "The memory of the host is used up; take a smaller size, fewer frames or a smaller batch, more devices, or for "
        "sampling --memory or --quantize.",
        "The portrait is absent.",
    ]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [
        GONE,
        script[3],
    ]  # stack traces; none of wrong input


def test_what_is_no_video_is_made_again_and_a_video_is_not(run, tmp_path, caplog):
    (tmp_path / "0.mp4").write_bytes(b"half a video")
    assert run(None, None) == (0, 2, [0, 1])
    assert "0.mp4 is no finished video and is made again" in caplog.text
    assert run(None, None, None) == (0, 1, [0, 1, 2])


def test_a_stack_trace_is_shown_once_for_each_class(run, caplog):
    assert run(GONE, None, OSError("again"), None) == (2, 4, [1, 3])
    assert len(caplog.records) == 1


def test_a_full_disk_ends_the_jobs_at_once(run, capsys):
    no_space = InputError("x.mp4 cannot be written.")
    no_space.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert run(None, no_space, None, None) == (1, 2, [0])
    assert errors(capsys.readouterr().err)[-1] == "error: The disk is full: the jobs that are left (2) are not tried."


def test_after_three_alike_in_a_row_the_rest_is_not_tried(run, capsys):
    assert run(GONE, GONE, None, GONE, GONE, GONE, None, None) == (5, 6, [2])
    last = errors(capsys.readouterr().err)[-1]
    assert last == (
        "error: 3 videos in a row failed with OSError, so the device may be lost: the jobs that are left (2) are not "
        "tried."
    )


def test_other_kinds_and_wrong_input_end_a_row(run, capsys):
    wrong = InputError("The portrait is absent.")
    assert run(GONE, GONE, MemoryError(), wrong, wrong, wrong, GONE, GONE, wrong, GONE, None) == (10, 11, [10])
    assert "are not tried" not in capsys.readouterr().err


def test_nothing_is_said_of_jobs_left_where_there_are_none(run, capsys):
    assert run(None, GONE, GONE, GONE) == (3, 4, [0])
    assert "are not tried" not in capsys.readouterr().err


def wrapped():
    """As C code makes of Ctrl-C in what it has called."""
    error = SystemError("returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    return error


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(75), wrapped()])
def test_who_is_asked_to_end_makes_no_more_jobs(run, stop):
    with pytest.raises(type(stop)):
        run(stop, None)


@pytest.mark.slow
def test_two_processes_agree_on_what_failed_and_go_on(tmp_path):
    first, second = ends_of_two("tests.parallel.failing", "some_jobs", tmp_path)
    assert [code for code, *_ in (first, second)] == [0, 0], (first, second)
    assert "failed 3" in first[1] and "failed 3" in second[1]
    assert [line.partition(".mp4: ")[2] for line in errors(first[2])] == [
        "The memory of the host is used up; take a smaller size, fewer frames or a smaller batch, more devices, or for "
        "sampling --memory or --quantize.",
        "The portrait is absent. So says process 1.",
        "Process 1 failed: OSError: the disk is gone",
    ]
    assert not errors(second[2]) and "OSError: the disk is gone" in second[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.mp4", "4.mp4"]


@pytest.mark.slow
def test_two_processes_give_up_together(tmp_path):
    first, second = ends_of_two("tests.parallel.failing", "a_lost_device", tmp_path)
    assert [code for code, *_ in (first, second)] == [0, 0], (first, second)
    assert "failed 4" in first[1] and "failed 4" in second[1]
    assert [path.name for path in tmp_path.iterdir()] == ["1.mp4"]


@pytest.mark.slow
def test_a_process_that_fails_alone_in_a_job_ends_and_so_does_the_other(tmp_path):
    (code, *_), (own, _, error) = ends_of_two("tests.parallel.failing", "a_job_that_fails_in_one", tmp_path)
    assert own == 70 and "ValueError: broken\nerror: That should not have happened." in error, error
    assert code not in (0, 2, 75)
    assert [path.name for path in tmp_path.iterdir()] == ["0.mp4"]


@pytest.mark.slow
def test_a_job_without_steps_is_ended_by_the_watchdog_to_be_started_again(tmp_path):
    both = ends_of_two("tests.parallel.failing", "a_job_that_stands_still", tmp_path)
    codes = [code for code, *_ in both]
    assert 75 in codes and 0 not in codes, both  # who is second may lose its connection before
    assert any("No step for 5 seconds: the stacks are below" in error and "in wait" in error for *_, error in both)


def test_an_output_that_cannot_be_written_is_told_before_anything_is_made(run, tmp_path, capsys):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    names = ["folder.mp4", "file/x.mp4", f"{'x' * 300}.mp4", "x.avi", "new/good.mp4", "12:30.mp4"]
    pipeline = Scripted([None] * len(names))
    assert run_jobs(pipeline, [Job("", "", "", str(tmp_path / name), {}) for name in names]) == 4
    assert len(pipeline.script) == len(names) - 2
    assert sorted(path.name for path in tmp_path.rglob("*.mp4")) == ["12:30.mp4", "folder.mp4", "good.mp4"]
    for line, words in zip(
        errors(capsys.readouterr().err),
        ("is a folder", "one of the folders above it is a file", "name too long", "not an .mp4 file"),
        strict=True,
    ):
        assert words in line


def test_what_is_wrong_with_its_files_fails_a_job_before_the_model_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ActAvatarPipeline, "from_pretrained", lambda *_, **__: pytest.fail("It was loaded."))
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    speech = encode(tmp_path / "a.wav", tones(16000, 1.0, 300), 16000)
    good = {"image": str(tmp_path / "a.png"), "audio": str(speech), "prompt": "A man."}
    wrong = [good | {"image": "absent.png"}, good | {"audio": "absent.wav"}, good | {"prompt": "A man. [3-2s] Nods."}]
    todo = [Job(**row, out=str(tmp_path / f"{n}.mp4"), options={}) for n, row in enumerate(wrong)]
    assert run_jobs(SHIPPED, todo) == 3
    for line, words in zip(errors(capsys.readouterr().err), ("absent.png", "absent.wav", "3"), strict=True):
        assert words in line
