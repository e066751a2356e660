"""Parts of a step: each its own journal, and the one that ends last puts them together."""

import threading

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import Step, StepReport, run_step
from data_pipelines.table.journals import read_rows
from data_pipelines.table.parts import Part
from tests.data.table.trivial_step import ARITHMETIC, Counting, constant_state, synthetic

QUIET = {"workers": 0, "progress": False}


@pytest.mark.parametrize("count", [2, 5])  # five parts of four clips: one has none
def test_parts_end_with_the_bytes_of_one_process(tmp_path, count):
    whole = run_step(ARITHMETIC, synthetic(4), tmp_path / "one", **QUIET)
    for index in reversed(range(count)):
        report, settings = StepReport(""), QUIET | {"process": (index, count)}
        table = run_step(ARITHMETIC, synthetic(4), tmp_path / "many", report=report, **settings)
        assert (table is None) == (index > 0) == (not (tmp_path / "many" / "columns").exists())
        wanted = 4 if table else len(range(index, 4, count))
        assert sum(report.counts().values()) - report.counts().get("not selected", 0) == wanted
    assert table.data.equals(whole.data)
    files = [(tmp_path / name / "columns" / "arithmetic.parquet").read_bytes() for name in ("one", "many")]
    assert files[0] == files[1]
    assert not list((tmp_path / "many" / ".steps").rglob("*.json*"))


def test_parts_of_different_runs_are_never_put_together(tmp_path):
    log, settings = tmp_path / "log", QUIET | {"process": (0, 2)}
    step = Step("counting", Counting(log), state=constant_state)
    changed = Step("counting", Counting(log), "2", constant_state)
    assert run_step(step, synthetic(4), tmp_path, **settings) is None
    assert run_step(step, synthetic(4), tmp_path, **(settings | {"process": (1, 3)})) is None
    assert run_step(changed, synthetic(4), tmp_path, **(settings | {"process": (1, 2)})) is None
    assert run_step(changed, synthetic(5), tmp_path, **settings) is None
    table = run_step(changed, synthetic(5), tmp_path, **(settings | {"process": (1, 2)}))
    assert table.column("counting.x") == [1] * 5 and len(set(table.column("counting.version"))) == 5
    with pytest.raises(InputError, match="accepted are 0/2 to 1/2"):
        run_step(step, synthetic(4), tmp_path, **(settings | {"process": (2, 2)}))


def test_what_a_killed_division_had_done_counts_in_another(tmp_path):
    log = tmp_path / "log"
    step = Step("counting", Counting(log), state=constant_state)
    run_step(step, synthetic(6), tmp_path, **QUIET, process=(0, 2))
    report = StepReport("")
    run_step(step, synthetic(6), tmp_path, **QUIET, report=report)
    assert report.counts() == {"kept": 3, "made": 3} and len(log.read_text().split()) == 6


def test_nobody_else_does_a_part_or_the_whole_meanwhile(tmp_path):
    first, other = (Part.of_step(tmp_path, "s", (index, 2), "x") for index in (0, 1))
    with first.begun():
        with other.begun():
            pass
        for process in ((0, 2), None):
            with pytest.raises(InputError, match="is being changed"), Part.of_step(tmp_path, "s", process, "x").begun():
                pass


def test_the_last_two_may_end_at_the_same_time(tmp_path):
    """Both see that all parts are there; one puts them together, and the other, which waited, finds that done."""
    first, other = (Part.of_step(tmp_path, "s", (index, 2), "x") for index in range(2))
    for part in (first, other):
        with part.begun() as journal:
            journal.add(f"c{part.index}", {"x": 1})
    made, saved = [], []
    waiting = threading.Thread(target=lambda: made.append(other.merge(lambda folders: "again", saved.append)))

    def put_together(folders):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        return [entry.id for entry in read_rows(folders)]

    assert first.merge(put_together, saved.append) == ["c0", "c1"]
    waiting.join()
    assert made == [None] and saved == [["c0", "c1"]]
