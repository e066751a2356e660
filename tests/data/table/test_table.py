"""The table of clips: what goes in comes out, in one order, and nothing foreign is taken for one."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actavatar_jax.errors import InputError
from data_pipelines.table import CORE_SCHEMA, Clip, Table, read_manifest

A = Clip("a", "films", "/videos/a.mp4", 1.5, 4.0, (0.0, 0.25, 0.5, 0.75), "A man.", {"films.blur": 0.5})
B = Clip("b", "films", "b.mp4", facts={"films.part": "x"})


def test_clips_come_back_as_they_were_sorted_by_id(tmp_path):
    Table.from_clips([B, A]).write(tmp_path / "t.parquet")
    table = Table.read(tmp_path / "t.parquet")
    everything = {"films.blur": None, "films.part": None}
    assert list(table) == [
        dataclasses.replace(A, facts=everything | A.facts),
        dataclasses.replace(B, facts=everything | B.facts),
    ]
    assert len(table) == 2 and table.column("id") == ["a", "b"] and table.column("films.blur") == [0.5, None]
    assert list(Table.from_clips([])) == []


def test_the_same_table_is_the_same_bytes(tmp_path, monkeypatch):
    a, b = dataclasses.replace(A, facts={"n": 1, "m": None}), dataclasses.replace(B, facts={"n": 2.5, "m": "text"})
    Table.from_clips([a, b]).with_columns({"s.x": [1, None], "s.y": [None, "z"]}).write(tmp_path / "one")
    monkeypatch.setattr("data_pipelines.table.table._PIECE", 1)
    Table.from_clips([b, a]).with_columns({"s.y": [None, "z"], "s.x": [1, None]}).write(tmp_path / "two")
    Table.read(tmp_path / "one").write(tmp_path / "three")
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two", "three")}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "three", "two"]


def test_what_steps_found_is_carried_to_a_table_with_other_clips():
    steps = {"s.x": [["a"], ["b"]], "s.version": ["1", "1"], "stage1": [True, False]}
    old = Table.from_clips([A, B]).with_columns(steps)
    table = Table.from_clips([B, Clip("c", "films", "c.mp4")]).with_steps_of(old)
    assert table.names == [*CORE_SCHEMA.names, "films.part", "s.version", "s.x"]
    assert table.column("s.x") == [["b"], None]


@pytest.mark.parametrize("wrong", ["a b", "", "ä", "a/b", "a.b", "a\n"])
def test_ids_are_file_names(wrong):
    with pytest.raises(InputError, match="file name"):
        Table.from_clips([A, dataclasses.replace(A, id=wrong)])


def test_double_ids_are_refused_by_name():
    with pytest.raises(InputError, match="'a' occurs more than once"):
        Table.from_clips([A, B, dataclasses.replace(A, source="other.mp4")])


def test_what_is_no_table_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(InputError, match="no such table"):
        Table.read(path)
    with pytest.raises(InputError, match=r"no manifest\.parquet.*to its end"):
        read_manifest(tmp_path)
    path.write_text("id,source")
    with pytest.raises(InputError, match="not a parquet file"):
        Table.read(path)
    Table.from_clips([A, B]).write(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="not a parquet file"):
        Table.read(path)
    pq.write_table(pa.table({"id": ["a"], "url": ["b"]}), path)
    with pytest.raises(InputError, match="no column corpus, source"):
        Table.read(path)
    columns = {name: pa.array([["x"]] if name == "start" else [None], None) for name in CORE_SCHEMA.names}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(InputError, match="column start is list"):
        Table.read(path)
    pq.write_table(pa.table({name: pa.nulls(1) for name in CORE_SCHEMA.names}), path)
    with pytest.raises(InputError, match="the clip id None"):
        Table.read(path)


def test_values_of_numpy_are_values(tmp_path):
    table = Table.from_clips([A]).with_columns({"x": [np.float32(0.5)], "y": [np.arange(3)]})
    assert table.column("x") == [0.5] and table.column("y") == [[0, 1, 2]]


def test_a_table_from_before_there_were_splits_has_those_of_its_corpora(tmp_path):
    clips = [Clip("a", "hdtf", "a.mp4", facts={"hdtf.split": "test"}), Clip("b", "hdtf", "b.mp4")]
    old = Table.from_clips(clips).data.drop_columns(["split"])
    pq.write_table(old, tmp_path / "old.parquet")
    assert Table.read(tmp_path / "old.parquet").column("split") == ["test", None]
    pq.write_table(old.drop_columns(["hdtf.split"]), tmp_path / "plain.parquet")
    assert [clip.split for clip in Table.read(tmp_path / "plain.parquet")] == [None, None]
