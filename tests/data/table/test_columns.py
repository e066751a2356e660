"""Columns of steps: a file for each, joined when read, whoever wrote at the same time."""

import weakref
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import Clip, StepReport, Table, columns, read_manifest, run_step
from data_pipelines.table.columns import join_columns, read_columns, replace_rows, write_columns, write_step_columns
from data_pipelines.table.journals import Entry
from tests.data.table.trivial_step import ARITHMETIC, synthetic

A, B = Clip("a", "test", "a.mp4"), Clip("b", "test", "b.mp4")
NONE = pa.table({"id": pa.array([], pa.string())})


def rows_of(step: str, rows: dict, before: pa.Table = NONE) -> pa.Table:
    return replace_rows(before, step, [Entry(clip_id, row) for clip_id, row in rows.items()])


def test_columns_of_all_steps_are_joined_by_id(tmp_path):
    write_columns(tmp_path, "s", rows_of("s", {"b": {"x": 2.5, "new": {"k": True}}, "gone": {"x": 9.0}}))
    write_columns(tmp_path, "s2", rows_of("s2", {"a": {"x": 5}}))
    write_step_columns(tmp_path, "stage1", ["b", "a"], {"stage1": [True, False], "stage1.reason": [None, "dull"]})
    inline = {"s.x": [1, 2], "s.old": [0, 0], "stage1": [True, True], "other.x": [1, 2]}
    table = join_columns(Table.from_clips([B, A]).with_columns(inline), tmp_path)
    found = {name: table.column(name) for name in table.names if "." in name or name == "stage1"}
    assert found == {
        "other.x": [1, 2],
        "s.new": [None, {"k": True}],
        "s.x": [None, 2.5],
        "s2.x": [5, None],
        "stage1": [False, True],
        "stage1.reason": ["dull", None],
    }


def test_rows_replace_those_of_their_ids_and_the_last_counts():
    stored = rows_of("s", {"a": {"x": 1, "old": [1]}, "b": {"x": 2, "old": None}})
    entries = [Entry("b", {"x": 3}), Entry("c", {"x": 4.5}), Entry("b", {"x": 5, "y": "z"})]
    found = replace_rows(stored, "s", entries).sort_by("id").to_pylist()
    assert found == [
        {"id": "a", "s.x": 1, "s.old": [1], "s.y": None},
        {"id": "b", "s.x": 5, "s.old": None, "s.y": "z"},
        {"id": "c", "s.x": 4.5, "s.old": None, "s.y": None},
    ]


def test_the_same_rows_are_the_same_bytes(tmp_path, monkeypatch):
    rows = {f"c{i}": {"x": i if i % 3 else i / 2, "y": [i] * (i % 2), "z": None if i < 5 else "text"} for i in range(9)}
    write_columns(tmp_path, "s", rows_of("s", rows))
    whole = columns.columns_path(tmp_path, "s").read_bytes()
    monkeypatch.setattr(columns, "_PIECE", 2)
    write_columns(tmp_path, "s", rows_of("s", dict(reversed(rows.items()))))
    assert columns.columns_path(tmp_path, "s").read_bytes() == whole


def test_values_of_two_kinds_in_a_column_are_a_mistake():
    with pytest.raises(TypeError, match=r"values of column s\.x are not all of one type"):
        rows_of("s", {"a": {"x": 1}, "b": {"x": "one"}})


def test_few_rows_are_held_at_a_time(monkeypatch):
    """Rows have thousands of numbers each; those of 500,000 clips would fill the memory."""
    monkeypatch.setattr(columns, "_PIECE", 10)
    given, most = [], 0

    def entries() -> Iterator[Entry]:
        nonlocal most
        for number in range(100):
            entry = Entry(f"c{number}", {"x": number})
            given.append(weakref.ref(entry))
            most = max(most, sum(one() is not None for one in given))
            yield entry
            del entry

    assert len(replace_rows(NONE, "s", entries())) == 100 and most <= 21


def test_a_broken_file_names_itself_and_what_to_do(tmp_path):
    synthetic(3).write(tmp_path / "manifest.parquet")
    run_step(ARITHMETIC, synthetic(3), tmp_path, workers=0, progress=False)
    columns.columns_path(tmp_path, "arithmetic").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"arithmetic\.parquet.*remove it and run the step again"):
        read_manifest(tmp_path)
    pq.write_table(pa.table({"x": [1]}), columns.columns_path(tmp_path, "arithmetic"))
    with pytest.raises(InputError, match="remove it and run the step again"):
        read_columns(tmp_path, "arithmetic")


def test_a_folder_from_before_goes_on(tmp_path):
    """Its manifest has the columns of all steps; each that runs again gets its own file."""
    table = run_step(ARITHMETIC, synthetic(30), tmp_path / "now", workers=0, progress=False)
    table.write(tmp_path / "before" / "manifest.parquet")
    report, table = StepReport(""), read_manifest(tmp_path / "before")
    again = run_step(ARITHMETIC, table, tmp_path / "before", workers=0, progress=False, report=report)
    assert again.data.equals(table.data) and report.counts() == {"kept": 27, "skipped: unlucky": 3}
    assert [path.name for path in (tmp_path / "before" / "columns").iterdir()] == ["arithmetic.parquet"]
