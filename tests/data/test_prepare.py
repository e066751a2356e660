"""Preparing: every video ends as a clip on the clock or with one reason, and nothing is done twice."""

import json

import pytest
from fakes import write_clip

from actavatar_jax.errors import InputError
from actavatar_jax.media.video import load_video
from data_pipelines import prepare as module
from data_pipelines.manifest import read_manifest
from data_pipelines.prepare import prepare


def run(videos, clips, **settings):
    return prepare(videos, clips, **({"min_frames": 10, "min_side": 64, "progress": False} | settings))


def rows_by_source(clips):
    return {row.source: row for row in read_manifest(clips)}


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    write_clip(folder / "a.mp4", frames=20)
    write_clip(folder / "below" / "a.mp4", frames=25, height=96, width=64)
    return folder


def test_each_input_ends_in_one_row_with_one_reason(videos, tmp_path):
    write_clip(videos / "caption.mp4")
    write_clip(videos / "silent.mp4", sound=False)
    write_clip(videos / "short.mp4", frames=9)
    write_clip(videos / "small.mp4", height=32)
    write_clip(videos / "wrong.mp4")
    (videos / "text.mov").write_text("not a video")
    (videos / "cut.mp4").write_bytes((videos / "a.mp4").read_bytes()[:900])
    (videos / "notes.md").write_text("not meant")
    (videos / "a.json").write_text(
        json.dumps({"base": "A man.", "phases": [{"start": 0, "end": 0.4, "action": "Waves."}]})
    )
    (videos / "caption.txt").write_text("A man speaks.")
    wrong = [{"start": 0.5, "end": 0.2, "action": "Nods."}, {"start": 0, "end": 9, "action": "Bows."}]
    (videos / "wrong.json").write_text(json.dumps({"base": "", "phases": wrong}))

    report = run(videos, tmp_path / "clips")

    assert report.counts() == {
        "made": 3,
        "skipped: invalid prompt": 1,
        "skipped: no audio stream": 1,
        "skipped: too short": 1,
        "skipped: too small": 1,
        "skipped: unreadable": 2,
    }
    rows = rows_by_source(tmp_path / "clips")
    assert len(rows) == 9
    assert [rows[name].caption for name in ("a.mp4", "caption.mp4", "below/a.mp4")] == ["structured", "brief", "none"]
    assert all(fault in rows["wrong.mp4"].detail for fault in ("base", "reversed", "past the end"))
    assert sorted(p.name for p in (tmp_path / "clips" / "clips").iterdir()) == sorted(
        [f"{rows[s].id}.mp4" for s in ("a.mp4", "caption.mp4", "below/a.mp4")]
        + [f"{rows[s].id}.json" for s in ("a.mp4", "caption.mp4")]
    )
    stored = json.loads((tmp_path / "clips" / "report.json").read_text())
    assert stored["total"] == 9 == sum(stored["counts"].values())
    assert "skipped: unreadable" in str(report) and "short.mp4: 9 frames" in str(report)


def test_a_clip_is_at_25_frames_a_second(tmp_path):
    write_clip(tmp_path / "videos" / "c.mp4", frames=62, fps=50)
    run(tmp_path / "videos", tmp_path / "clips")
    row = rows_by_source(tmp_path / "clips")["c.mp4"]
    video = load_video(tmp_path / "clips" / "clips" / f"{row.id}.mp4")
    assert (row.frames, row.height, row.width, row.seconds, row.bucket) == (31, 64, 96, 1.24, "768x1216")
    assert video.frames.shape == (31, 64, 96, 3) and video.audio.shape == (31 * 640,)


def test_a_second_run_keeps_what_has_not_changed(videos, tmp_path):
    clips = tmp_path / "clips"
    run(videos, clips)
    manifest = (clips / "manifest.jsonl").read_bytes()
    assert run(videos, clips).counts() == {"kept": 2}
    assert (clips / "manifest.jsonl").read_bytes() == manifest
    (videos / "a.txt").write_text("A woman speaks.")
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    write_clip(videos / "below" / "a.mp4", frames=30, seed=3)
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    write_clip(videos / "a.mp4", frames=5)
    assert run(videos, clips).counts() == {"kept": 1, "skipped: too short": 1}
    assert len(list((clips / "clips").iterdir())) == 1
    (videos / "a.mp4").unlink()
    assert run(videos, clips).counts() == {"kept": 1} and len(read_manifest(clips)) == 1


def test_an_interrupted_run_goes_on(videos, tmp_path, monkeypatch):
    clips, write, calls = tmp_path / "clips", module.write_video, []

    def interrupted(path, frames, audio):
        calls.append(path)
        if len(calls) == 2:
            next(frames)
            (path.parent / f".{path.name}.99.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, frames, audio)

    monkeypatch.setattr(module, "write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(videos, clips)
    assert len(list((clips / "clips").glob("*.mp4"))) == 1
    with (clips / ".manifest.journal").open("a") as journal:
        journal.write('{"id": "cut')  # as a kill leaves it
    with pytest.raises(InputError, match="to its end"):
        read_manifest(clips)
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    assert [path for path in clips.rglob(".*") if path.is_file()] == []


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no video here"):
        run(tmp_path, tmp_path / "clips")


def test_real_media(media, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("v03_suit_man_vfr.mp4", "v12_no_audio_track_25fps.mp4"):
        (folder / name).symlink_to(media / "videos" / name)
    assert run(folder, tmp_path / "clips").counts() == {"made": 1, "skipped: no audio stream": 1}
    (row,) = (row for row in read_manifest(tmp_path / "clips") if row.status == "ok")
    assert (row.height, row.width, row.bucket) == (700, 700, "960x960")
    assert abs(row.seconds - 6.1) <= 0.05
