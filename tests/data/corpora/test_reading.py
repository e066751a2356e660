"""What all readers share: a folder with captions, nothing to read, counts that add up."""

import json
import os

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from data_pipelines.table import Table
from tests.data.corpora.on_disk import read, touch
from tests.data.corpora.test_webdataset import tar


def test_a_folder_and_captions_without_a_video(tmp_path):
    touch(*(tmp_path / "src" / name for name in ("a.mp4", "a.txt", "sub/a.MOV", "lost.json", "notes.md", ".b.mp4")))
    clips, left_out = read("folder", tmp_path / "src", tmp_path)
    assert sorted(i.split("-")[0] for i in clips) == ["a", "a"] and left_out == {"skipped: no clip": 1}
    assert {clip.source for clip in clips.values()} == {str(tmp_path / "src" / n) for n in ("a.mp4", "sub/a.MOV")}
    report = read_corpus("folder", tmp_path / "src", tmp_path / "src" / "t.parquet")
    assert {clip.source for clip in Table.read(tmp_path / "src" / "t.parquet")} == {"a.mp4", "sub/a.MOV"}
    assert report.counts() == read_corpus("folder", tmp_path / "src", tmp_path / "src" / "t.parquet").counts()


def test_nothing_to_read_is_an_error(tmp_path):
    table = tmp_path / "t.parquet"
    with pytest.raises(InputError, match="no video here"):
        read_corpus("folder", tmp_path, table)
    with pytest.raises(InputError, match="openhumanvid, hdtf, folder, speakervid, webdataset"):
        read_corpus("vox", tmp_path, table)
    with pytest.raises(InputError, match="no such file or folder"):
        read_corpus("folder", tmp_path / "gone", table)
    for kind in ("openhumanvid", "speakervid", "hdtf", "webdataset"):
        with pytest.raises(InputError, match=str(tmp_path)):
            read_corpus(kind, tmp_path, table)
    assert not table.exists()


def test_nothing_that_looks_like_a_video_vanishes(tmp_path):
    """Of all suffixes, of links that lead nowhere, of names that are not UTF-8."""
    src = tmp_path / "src"
    suffixes = (
        ".mp4",
        ".m4v",
        ".ts",
        ".MTS",
        ".m2ts",
        ".3gp",
        ".mpg",
        ".mpeg",
        ".flv",
        ".wmv",
        ".ogv",
        ".webm",
        ".avi",
    )
    touch(*(src / f"video{number}{suffix}" for number, suffix in enumerate(suffixes)), src / "video0.txt")
    (src / "gone.mp4").symlink_to(tmp_path / "nothing")
    (src / "folder.mp4").mkdir()
    (src / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"video")
    report = read_corpus("folder", src, tmp_path / "t.parquet")
    assert report.counts() == {"made": len(suffixes), "skipped: odd name": 1, "skipped: unreadable": 1}
    sentences = {outcome.reason: outcome.detail for outcome in report.outcomes if outcome.reason}
    assert "gone.mp4: no file, or a link that leads nowhere" in sentences["unreadable"]
    assert r"caf\udce9.mp4" in sentences["odd name"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    touch(tmp_path / "src" / "a.mp4", tmp_path / "src" / "locked" / "b.mp4")
    scandir = os.scandir

    def denied(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)  # tests may run as root, who has all
    report = read_corpus("folder", tmp_path / "src", tmp_path / "t.parquet")
    assert report.counts() == {"made": 1, "skipped: unreadable": 1}


@pytest.mark.parametrize("kind", ["webdataset", "folder"])
def test_parts_make_the_table_of_one_process(tmp_path, kind):
    src = tmp_path / "src"
    for number in range(4):
        tar(src / f"{number}.tar", (f"v{number}.mp4", "A"), ("x.txt", "alone"), (f"w{number}.mp4", "B"))
        touch(src / f"v{number}.mp4")
    touch(src / "lost.txt")
    whole = read_corpus(kind, src, tmp_path / "t.parquet")
    (tmp_path / "t.parquet").rename(tmp_path / "whole.parquet")
    for index in (2, 0):
        part = read_corpus(kind, src, tmp_path / "t.parquet", (index, 3))
        assert not (tmp_path / "t.parquet").exists() and sum(part.counts().values()) <= len(whole.outcomes)
    merged = read_corpus(kind, src, tmp_path / "t.parquet", (1, 3))
    assert merged.counts() == whole.counts() == json.loads((tmp_path / "t.report.json").read_text())["counts"]
    assert (tmp_path / "t.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
