"""Steps over tables: the same table whatever runs them, nothing measured twice, nothing lost in a kill."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, Skip, StepReport, Table, clip_state, digest, read_manifest, run_step
from data_pipelines.table.journals import Journal, read_rows
from data_pipelines.table.measuring import Measuring, Task
from tests.data.table.trivial_step import ARITHMETIC, Counting, Step, constant_state, not_a_number, synthetic

QUIET = {"progress": False}


def columns(clip_dir: Path, step: str) -> bytes:
    return (clip_dir / "columns" / f"{step}.parquet").read_bytes()


def calls(log: Path) -> list[str]:
    return sorted(log.read_text().split()) if log.exists() else []


def test_every_clip_has_its_columns_and_one_outcome(tmp_path):
    report = StepReport("")
    table = run_step(ARITHMETIC, synthetic(200), tmp_path, workers=0, report=report, **QUIET)
    rows = {clip.id: clip.facts for clip in table}
    assert rows["c000002"]["arithmetic.third"] == 2 / 3 and rows["c000002"]["arithmetic.profile"] == [0.2, 0.2]
    assert rows["c000017"]["arithmetic.odd"] == "17" and rows["c000002"]["arithmetic.odd"] is None
    assert rows["c000026"]["arithmetic.error"] == "unlucky" and "26" in rows["c000026"]["arithmetic.detail"]
    assert rows["c000101"]["arithmetic.error"] == "unreadable" and rows["c000101"]["arithmetic.third"] is None
    assert report.counts() == {"made": 183, "skipped: unlucky": 16, "skipped: unreadable": 1}
    synthetic(200).write(tmp_path / "manifest.parquet")
    assert read_manifest(tmp_path).data.equals(table.data)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_processes_and_beam_give_the_same_bytes(tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    for name, settings in {"inline": {"workers": 0}, "two": {"workers": 2}, "beam": {"runner": "beam"}}.items():
        run_step(ARITHMETIC, synthetic(300), tmp_path / name, **settings, **QUIET)
    tables = [columns(tmp_path / name, "arithmetic") for name in ("inline", "two", "beam")]
    assert tables[0] == tables[1] == tables[2]


def test_spawned_processes_give_the_same_bytes(tmp_path):
    for workers in (0, 2):
        run_step(ARITHMETIC, synthetic(100), tmp_path / str(workers), workers=workers, **QUIET)
    assert columns(tmp_path / "0", "arithmetic") == columns(tmp_path / "2", "arithmetic")


def test_only_what_changed_is_measured_again(tmp_path):
    table, log = synthetic(4), tmp_path / "log"
    step = Step("counting", Counting(log), state=constant_state)
    table = run_step(step, table, tmp_path, workers=0, **QUIET)
    first = columns(tmp_path, "counting")
    report = StepReport("")
    run_step(step, table, tmp_path, workers=0, report=report, **QUIET)
    assert len(calls(log)) == 4 and report.counts() == {"kept": 4}
    assert columns(tmp_path, "counting") == first
    clips = [clip for clip in table if clip.id != "c000003"] + [Clip("c000009", "synthetic", "9.mp4")]
    clips[1] = Clip(**{**vars(clips[1]), "source": "changed.mp4"})
    report = StepReport("")
    run_step(step, Table.from_clips(clips), tmp_path, workers=0, report=report, **QUIET)
    assert calls(log) == ["c000000", "c000001", "c000001", "c000002", "c000003", "c000009"]
    assert report.counts() == {"kept": 2, "made": 2}
    run_step(
        Step("counting", Counting(log), "2", constant_state), Table.from_clips(clips), tmp_path, workers=0, **QUIET
    )
    assert len(calls(log)) == 10


def test_clips_that_are_not_wanted_keep_what_they_have(tmp_path):
    log, report = tmp_path / "log", StepReport("")
    settings = {"workers": 0, "report": report, **QUIET}
    table = run_step(Step("counting", Counting(log), state=constant_state), synthetic(2), tmp_path, workers=0, **QUIET)
    table = Table.from_clips([*table, *list(synthetic(6))[2:]])
    changed = Step("counting", Counting(log), "2", constant_state)
    table = run_step(changed, table, tmp_path, only={"c000001", "c000004"}, **settings)
    assert calls(log) == ["c000000", "c000001", "c000001", "c000004"]
    assert report.counts() == {"made": 2, "not selected": 4}
    assert table.column("counting.x") == [1, 1, None, None, 1, None]
    versions = table.column("counting.version")
    assert versions[0] != versions[1] and versions[2] is None


def test_a_step_that_no_clip_is_wanted_for_has_run(tmp_path):
    table = run_step(ARITHMETIC, synthetic(3), tmp_path, workers=0, only=(), **QUIET)
    assert table.column("arithmetic.version") == [None] * 3
    table = run_step(ARITHMETIC, table, tmp_path, workers=0, **QUIET)
    assert table.column("arithmetic.third")[1:] == [1 / 3, 2 / 3]


def test_a_killed_run_loses_the_unfinished_clip_only(tmp_path):
    log = tmp_path / "log"
    run_step(
        Step("counting", Counting(tmp_path / "whole log"), state=constant_state),
        synthetic(8),
        tmp_path / "whole",
        workers=0,
        **QUIET,
    )
    killed = Step("counting", Counting(log, kill="c000005"), state=constant_state)
    child = os.fork()
    if child == 0:
        run_step(killed, synthetic(8), tmp_path / "clips", workers=0, **QUIET)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert calls(log) == [f"c{i:06d}" for i in range(5)] and not (tmp_path / "clips/columns").exists()
    report = StepReport("")
    step = Step("counting", Counting(log), state=constant_state)
    run_step(step, synthetic(8), tmp_path / "clips", workers=0, report=report, **QUIET)
    assert calls(log) == [f"c{i:06d}" for i in range(8)] and report.counts() == {"kept": 5, "made": 3}
    tables = [columns(tmp_path / name, "counting") for name in ("whole", "clips")]
    assert tables[0] == tables[1]


def test_of_two_killed_runs_the_later_row_counts(tmp_path):
    journals = tmp_path / ".steps" / "counting" / "0-of-1"
    journals.mkdir(parents=True)
    for run, value in ((0, "old"), (1, "new")):
        row = {"version": value, "error": None, "detail": None, "x": run}
        line = json.dumps({"id": "c000000", "row": row})
        (journals / f"{run:04d}-worker.jsonl").write_text(f"\n{line}\n")
    table = run_step(
        Step("counting", Counting(tmp_path / "log", fail="c000001"), state=constant_state),
        synthetic(1),
        tmp_path,
        workers=0,
        **QUIET,
    )
    assert table.column("counting.x") == [1] and calls(tmp_path / "log") == ["c000000"]


def test_a_line_that_a_killed_process_left_torn_is_closed_by_one_of_the_same_number(tmp_path):
    journal = Journal(tmp_path, 0)
    journal.path().write_text('{"id": "c0000')
    step = Step("counting", Counting(tmp_path / "log"), state=constant_state)
    measuring = Measuring(step, tmp_path, journal)
    assert [measuring(Task(clip)) for clip in synthetic(2)] == [None, None]
    assert sorted(entry.id for entry in read_rows([tmp_path])) == ["c000000", "c000001"]


def test_workers_end_with_their_parent(tmp_path):
    code = (
        "from tests.data.table.trivial_step import *\n"
        "from data_pipelines.table import run_step\n"
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        f"    run_step(Step('sleep', sleep, state=constant_state), synthetic(4), Path({str(tmp_path)!r}), workers=2)\n"
    )
    script = tmp_path / "main.py"
    script.write_text(code)
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen([sys.executable, str(script)], env=env, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, 120)
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(alive(pid) for pid in workers), 20)


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_clip_that_was_not_prepared_says_why(tmp_path):
    with pytest.raises(Skip, match="not prepared: too short"):
        clip_state(Clip("a", "", "a.mp4", facts={"prepare.error": "too short"}), tmp_path)
    with pytest.raises(Skip, match="does not exist"):
        clip_state(Clip("a", "", "a.mp4"), tmp_path)


def test_an_unknown_runner_is_refused(tmp_path):
    with pytest.raises(InputError, match="processes, beam"):
        run_step(ARITHMETIC, synthetic(1), tmp_path, runner="spark")


def test_a_file_that_cannot_be_read_is_a_row_and_tried_again(tmp_path):
    log = tmp_path / "log"
    failing = Step("counting", Counting(log, deny="c000001"), state=constant_state)
    report = StepReport("")
    table = run_step(failing, synthetic(3), tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"made": 2, "skipped: unreadable": 1}
    assert table.column("counting.detail")[1] == "There is no permission."
    run_step(Step("counting", Counting(log), state=constant_state), table, tmp_path, workers=0, report=report, **QUIET)
    assert calls(log).count("c000001") == 1 and len(calls(log)) == 3


def test_a_full_disk_ends_the_run(tmp_path):
    step = Step("counting", Counting(tmp_path / "log", full="c000001"), state=constant_state)
    with pytest.raises(OSError, match="No space left"):
        run_step(step, synthetic(3), tmp_path, workers=0, **QUIET)


def test_damaged_journals_cost_their_clips_only(tmp_path):
    log, journals = tmp_path / "log", tmp_path / ".steps" / "counting" / "0-of-1"
    journals.mkdir(parents=True)
    version = digest("1", constant_state(list(synthetic(2))[1], tmp_path))
    row = {"version": version, "error": None, "detail": None, "x": 7}
    good = json.dumps({"id": "c000001", "row": row})
    odd = ["5", "[]", '{"id": 3, "row": {}}', '{"id": "c000000"}', '{"id": "c000000", "row": 3}', "\0\0", "{" * 5000]
    (journals / "0000-worker.jsonl").write_text("\n".join([*odd, good, '{"id": "c00']))
    (journals / "notes.jsonl").write_text("x")
    (journals / "x-y.jsonl").write_text("x")
    table = run_step(Step("counting", Counting(log), state=constant_state), synthetic(3), tmp_path, workers=0, **QUIET)
    assert table.column("counting.x") == [1, 7, 1] and calls(log) == ["c000000", "c000002"]


def test_numbers_that_are_none_survive_the_journal(tmp_path):
    table = run_step(Step("nan", not_a_number, state=constant_state), synthetic(1), tmp_path, workers=0, **QUIET)
    assert math.isnan(table.column("nan.x")[0])


@pytest.mark.parametrize(
    "odd",
    [
        {"source": None},
        {"source": ""},
        {"start": None},
        {"start": math.nan},
        {"start": -1.0},
        {"start": 5.0, "end": 4.0},
        {"end": math.inf},
        {"crop": (0.0, 0.0, 1.0)},
        {"crop": (0.0, 0.0, 1.5, 1.0)},
        {"crop": (0.0, None, 1.0, 1.0)},
    ],
)
def test_an_odd_row_of_a_table_is_one_outcome(tmp_path, odd):
    data = Table.from_clips(synthetic(3)).data.to_pylist()
    data[1] |= {name: list(value) if name == "crop" else value for name, value in odd.items()}
    pq.write_table(pa.Table.from_pylist(data, Table.from_clips(synthetic(3)).data.schema), tmp_path / "t.parquet")
    report, step = StepReport(""), Step("counting", Counting(tmp_path / "log"), state=constant_state)
    run_step(step, Table.read(tmp_path / "t.parquet"), tmp_path, workers=0, report=report, **QUIET)
    assert report.counts() == {"made": 2, "skipped: odd row": 1}
