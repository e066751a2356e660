"""Commands of the data: one odd input is a row of the report, and the exit code says that something failed."""

import gzip
import json

import pytest

from data_pipelines.table import Table
from tests.commands import actavatar, refused
from tests.data.corpora.test_webdataset import headers, ten
from tests.data.fakes import write_clip


def test_a_damaged_tar_is_read_told_and_no_success(tmp_path, capsys):
    content = bytearray(ten(tmp_path, ".mp4"))
    content[headers(content)[3]] ^= 1
    (tmp_path / "wds").mkdir()
    (tmp_path / "wds" / "ten.tar.gz").write_bytes(gzip.compress(content))
    said = "1 of 10 failed, the others are done: 1 torn tar"
    refused(capsys, said, "corpus", "webdataset", tmp_path / "wds", tmp_path / "t.parquet")
    assert json.loads((tmp_path / "t.report.json").read_text())["counts"] == {"made": 9, "skipped: torn tar": 1}


@pytest.fixture
def videos(tmp_path):
    write_clip(tmp_path / "videos" / "a.mp4", frames=10)
    return tmp_path / "videos"


def prepare(videos, clips, least=5):
    return ("prepare", videos, clips, "--min-side", 32, "--min-frames", least, "--workers", 0)


def test_what_is_left_out_by_a_rule_is_a_success_but_not_if_that_is_all(tmp_path, capsys, videos):
    write_clip(videos / "b.mp4", frames=4)
    assert actavatar(*prepare(videos, tmp_path / "clips")) == 0
    refused(capsys, "nothing could be used of 2: 2 too short", *prepare(videos, tmp_path / "clips", 50))


def test_clips_that_are_made_are_not_read(tmp_path, capsys, videos):
    before = {path: path.read_bytes() for path in videos.iterdir()}
    for clips in (videos, videos / "clips", videos / "." / "x" / ".."):
        refused(capsys, "would be read as videos; give a folder elsewhere", *prepare(videos, clips))
    (tmp_path / "link").symlink_to(videos)
    refused(capsys, "would be read as videos", *prepare(videos, tmp_path / "link"))
    assert {path: path.read_bytes() for path in videos.iterdir()} == before
    assert actavatar(*prepare(videos, tmp_path / "clips")) == 0
    refused(capsys, "would be read as videos", *prepare(tmp_path / "clips" / "clips", tmp_path / "clips"))


def test_all_columns_are_written_as_one_file(tmp_path, capsys, videos):
    assert actavatar(*prepare(videos, tmp_path / "clips")) == 0
    assert actavatar("filter", tmp_path / "clips", "--steps", "probe", "--workers", 0, "--process", "0/1") == 0
    assert actavatar("data", "table", tmp_path / "clips", "--out", tmp_path / "all.parquet") == 0
    table = Table.read(tmp_path / "all.parquet")
    assert table.column("probe.frames") == table.column("prepare.frames") == [10]
    refused(capsys, "expected I/N", "filter", tmp_path / "clips", "--process", "1/1")


def test_a_video_that_cannot_be_read_is_a_row(tmp_path, capsys, videos):
    (videos / "b.mp4").write_bytes(b"no video")
    (videos / "c.mp4").symlink_to(tmp_path / "nothing")
    (videos / "d.ts").write_bytes(b"no video")
    refused(capsys, "failed, the others are done: 3 unreadable", *prepare(videos, tmp_path / "clips"))
    counts = json.loads((tmp_path / "clips" / "report.json").read_text())["counts"]
    assert counts == {"made": 1, "skipped: unreadable": 3}
