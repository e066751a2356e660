"""No clip stops the others: crashes, hangs, bugs and killed runs are rows, and too many of them one sentence."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, Step, StepReport, import_extra, run_step
from data_pipelines.table.journals import Journal, read_rows
from tests.data.table import odd_clips
from tests.data.table.trivial_step import Counting, constant_state, synthetic

pytest.importorskip("pebble", reason="needs pebble, of the extra `data`")

QUIET = {"progress": False}


def test_every_one_of_many_clips_is_accounted_for(tmp_path):
    odd_clips.run(1000, tmp_path, 2)
    log = [line for path in tmp_path.rglob("*.jsonl") for line in path.read_text().splitlines()]
    assert not log and not list(tmp_path.glob(".steps/odd/*/done.json"))


def test_what_was_given_up_is_tried_again_only_when_asked_for(tmp_path):
    table = odd_clips.odd_table(1000).of_clips(["c000003", "c000500", "c000501", "c000700"])
    settings = {"workers": 2, "timeout": 1.0, **QUIET}
    run_step(odd_clips.ODD, table, tmp_path, **settings)
    mended = Step("odd", nothing_wrong, state=constant_state)
    report = StepReport("")
    run_step(mended, table, tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"kept": 1, "made": 1, "skipped: crashed": 1, "skipped: timed out": 1}
    report = StepReport("")
    run_step(mended, table, tmp_path, workers=0, retry=True, report=report, **QUIET)
    assert report.counts() == {"kept": 2, "made": 2}


def nothing_wrong(clip: Clip, clip_dir: Path) -> dict:
    return {"third": 1.0}


def test_a_worker_that_dies_once_is_no_ones_fault(tmp_path):
    report = StepReport("")
    step = Step("once", DyingOnce(tmp_path / "mark"), state=constant_state)
    run_step(step, synthetic(3), tmp_path, workers=1, report=report, **QUIET)
    assert report.counts() == {"made": 3} and (tmp_path / "mark").exists()


@dataclass(frozen=True)
class DyingOnce:
    mark: Path

    def __call__(self, clip: Clip, clip_dir: Path) -> dict:
        if clip.id == "c000001" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"x": 1}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_of_every_clip_ends_the_run_in_one_sentence(tmp_path, workers):
    step = Step("counting", Counting(tmp_path / "log", fail="c"), state=constant_state)
    said = (
        r"counting was stopped: 11 of 11 clips failed .* The last one: c0000\d\d: unexpected error, ZeroDivisionError"
    )
    with pytest.raises(InputError, match=said):
        run_step(step, synthetic(100), tmp_path, workers=workers, **QUIET)
    assert not (tmp_path / "columns").exists()


def test_a_bug_of_some_clips_is_a_row_that_the_next_run_tries_again(tmp_path):
    report, step = StepReport(""), Step("counting", Counting(tmp_path / "log", fail="c00000"), state=constant_state)
    table = run_step(step, synthetic(30), tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"made": 20, "skipped: unexpected error": 10}
    assert table.column("counting.detail")[0] == "ZeroDivisionError: a bug"
    with pytest.raises(InputError, match="10 of 30 failed, the others are done: 10 unexpected error"):
        report.check()
    report, mended = StepReport(""), Step("counting", Counting(tmp_path / "log"), state=constant_state)
    run_step(mended, table, tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"kept": 20, "made": 10}


def test_one_per_cent_of_many_clips_may_fail(tmp_path):
    step = Step("counting", Counting(tmp_path / "log", fail="c0000"), state=constant_state)
    with pytest.raises(InputError, match="11 of 11 clips"):  # all of the first hundred do
        run_step(step, synthetic(1100), tmp_path / "begin", workers=0, **QUIET)
    late = Step("counting", Counting(tmp_path / "log", fail="c00109"), state=constant_state)
    report = StepReport("")
    run_step(late, synthetic(1100), tmp_path / "end", workers=0, report=report, **QUIET)
    assert report.counts() == {"made": 1090, "skipped: unexpected error": 10}


def test_a_clip_that_killed_runs_had_begun_comes_last_and_is_given_up_after_three(tmp_path):
    """A clip may take the whole job with it, for want of memory; so may whoever stops the job."""
    folder = tmp_path / ".steps" / "counting" / "0-of-1"
    folder.mkdir(parents=True)
    for run in range(2):
        Journal(folder, run).add("c000000")
    log = tmp_path / "log"
    step = Step("counting", Counting(log, interrupt="c000000"), state=constant_state)
    with pytest.raises(KeyboardInterrupt):
        run_step(step, synthetic(3), tmp_path, workers=0, **QUIET)
    assert log.read_text().split() == ["c000001", "c000002"]
    report = StepReport("")
    run_step(step, synthetic(3), tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"kept": 2, "skipped: crashed": 1}


def test_without_the_package_for_processes_clips_are_measured_here(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pebble", None)
    import_extra.cache_clear()
    step = Step("here", say_where, state=constant_state)
    table = run_step(step, synthetic(2), tmp_path, **QUIET)
    assert table.column("here.process") == [os.getpid()] * 2 and "this needs pebble" in caplog.text
    with pytest.raises(InputError, match="this needs pebble: pip install"):
        run_step(step, synthetic(3), tmp_path, workers=1, **QUIET)


def say_where(clip: Clip, clip_dir: Path) -> dict:
    return {"process": os.getpid()}


def test_a_value_that_no_table_can_hold_is_an_unexpected_error(tmp_path):
    report = StepReport("")
    table = run_step(
        Step("set", give_a_set, state=constant_state), synthetic(2), tmp_path, workers=0, report=report, **QUIET
    )
    assert report.counts() == {"made": 1, "skipped: unexpected error": 1}
    assert "a step returned set; accepted are numbers" in table.column("set.detail")[1]


def give_a_set(clip: Clip, clip_dir: Path) -> dict:
    return {"x": 1 if clip.id == "c000000" else {1}}


def test_workers_that_never_begin_are_one_sentence(tmp_path):
    step = Step("unknown", Unpicklable(), state=constant_state)
    with pytest.raises(InputError, match=r"die before they begin; .* needs a main guard"):
        run_step(step, synthetic(2), tmp_path, workers=1, **QUIET)
    assert not list(read_rows([tmp_path / ".steps" / "unknown" / "0-of-1"]))


class Unpicklable:
    """A step that a worker dies of when it is handed over."""

    def __call__(self, clip: Clip, clip_dir: Path) -> dict:
        return {}

    def __reduce__(self):
        return os._exit, (3,)
