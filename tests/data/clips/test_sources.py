"""Sources as they lie about: every kind of video file is one, and what is no video is in the report with a reason."""

import os

import av
import numpy as np
import pytest

from actavatar_jax.media.video import load_video, probe
from data_pipelines.clips.stretch import Stretch
from data_pipelines.table import Clip, Table, shelved
from tests.data.clips.preparing import make_video, rows_by_source, run
from tests.data.fakes import write_clip

SUFFIXES = ".mp4", ".mov", ".mkv", ".m4v", ".ts", ".mts", ".m2ts", ".3gp"


def test_all_suffixes_are_sources(tmp_path):
    images = [np.full((64, 96, 3), 20 + 4 * n, np.uint8) for n in range(25)]
    for suffix in SUFFIXES:
        make_video(tmp_path / "videos" / f"x{suffix}", images, range(0, 1000, 40), np.full(44_100, 0.1, np.float32))
    assert run(tmp_path / "videos", tmp_path / "clips").counts() == {"made": len(SUFFIXES)}
    for row in rows_by_source(tmp_path / "clips").values():
        made = load_video(shelved(tmp_path / "clips" / "clips", row["id"], ".mp4"))
        np.testing.assert_allclose(made.frames.mean((1, 2, 3)), 20 + 4 * np.arange(25), atol=2)


def test_what_is_no_video_is_told_of(tmp_path):
    videos = tmp_path / "videos"
    write_clip(videos / "good.mp4")
    (videos / "dead.mp4").symlink_to(tmp_path / "gone.mp4")
    (videos / "empty.mkv").write_bytes(b"")
    (videos / "list.mp4").write_text("ffconcat version 1.0\nfile good.mp4\n")
    os.mkfifo(videos / "pipe.ts")
    (videos / "folder.mp4").mkdir()
    report = run(videos, tmp_path / "clips")
    assert report.counts()["made"] == 1 and sum(report.counts().values()) == 5  # the folder is one
    told = str(report.outcomes)
    assert all(name in told for name in ("dead.mp4", "empty.mkv", "list.mp4", "pipe.ts"))


def test_a_table_of_what_is_not_there(tmp_path):
    (tmp_path / "dead.mp4").symlink_to("gone.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    names = "dead.mp4", "pipe.mp4", "absent.mp4", "x" * 300 + ".mp4"
    Table.from_clips([Clip(f"c{n}", "test", name) for n, name in enumerate(names)]).write(tmp_path / "t.parquet")
    report = run(tmp_path / "t.parquet", tmp_path / "clips")
    assert report.counts() == {"skipped: no source": 4}
    told = str(report.outcomes)
    assert all(w in told for w in ("link to a file that is gone", "it is a pipe", "no such file", "name too long"))


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv", "mp4", "flv"])
@pytest.mark.parametrize("start", [0.0, 1.0, 3.3, 5.0, 8.7])
def test_a_stretch_begins_where_it_should_also_without_an_index(tmp_path, suffix, start):
    path = tmp_path / f"x.{suffix}"
    codec = {"mpg": "mpeg2video", "flv": "flv"}.get(suffix, "libx264")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "60", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 64, 64, "yuv420p", 2_000_000
        for number in range(250):
            image = np.full((64, 64, 3), number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    shown = [frame.mean() for frame in Stretch(path, probe(path), start, start + 1)]
    assert len(shown) == 25
    np.testing.assert_allclose(shown, 25 * start + np.arange(25), atol=3)
