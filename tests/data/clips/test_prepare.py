"""Preparing: every clip ends with one row and at most one reason, and nothing is done twice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media.video import load_video
from data_pipelines.clips import make
from data_pipelines.filters import filter_clips
from data_pipelines.table import Clip, Step, Table, read_manifest, run_step, shelved
from tests.data.clips.preparing import rows_by_source, run
from tests.data.fakes import write_clip


def test_each_input_ends_in_one_row_with_one_reason(videos, tmp_path):
    write_clip(videos / "caption.mp4")
    write_clip(videos / "silent.mp4", sound=False)
    write_clip(videos / "short.mp4", frames=9)
    write_clip(videos / "small.mp4", height=30)
    write_clip(videos / "wrong.mp4")
    (videos / "text.mov").write_text("not a video")
    (videos / "cut.mp4").write_bytes((videos / "a.mp4").read_bytes()[:900])
    write_clip(videos / "half.mp4", frames=60)
    (videos / "half.mp4").write_bytes((videos / "half.mp4").read_bytes()[: -(videos / "half.mp4").stat().st_size // 3])
    (videos / "notes.md").write_text("not meant")
    (videos / "lost.txt").write_text("A man whose video is gone.")
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
        "skipped: no clip": 1,
        "skipped: too short": 1,
        "skipped: too small": 1,
        "skipped: unreadable": 3,
    }
    rows = rows_by_source(tmp_path / "clips")
    assert len(rows) == 10 and "break off after" in rows["half.mp4"]["detail"]
    assert [rows[name]["prompt"] for name in ("a.mp4", "caption.mp4", "below/a.mp4")] == ["structured", "brief", "none"]
    assert all(fault in rows["wrong.mp4"]["detail"] for fault in ("base", "reversed", "past the end"))
    assert sorted(p.name for p in (tmp_path / "clips" / "clips").glob("??/*")) == sorted(
        [f"{rows[s]['id']}.mp4" for s in ("a.mp4", "caption.mp4", "below/a.mp4")]
        + [f"{rows[s]['id']}.json" for s in ("a.mp4", "caption.mp4")]
    )
    stored = json.loads((tmp_path / "clips" / "report.json").read_text())
    assert stored["total"] == 11 == sum(stored["counts"].values())
    assert "skipped: unreadable" in str(report) and "9 frames" in str(report)


def test_a_clip_is_at_25_frames_a_second(tmp_path):
    write_clip(tmp_path / "videos" / "c.mp4", frames=62, fps=50)
    run(tmp_path / "videos", tmp_path / "clips")
    row = rows_by_source(tmp_path / "clips")["c.mp4"]
    video = load_video(shelved(tmp_path / "clips" / "clips", row["id"], ".mp4"))
    facts = {"frames": 31, "height": 64, "width": 96, "seconds": 1.24, "fps_in": 50, "rotation": 0, "slot_error_ms": 0}
    assert row | facts == row and row["error"] is None
    assert video.frames.shape == (31, 64, 96, 3) and video.audio.shape == (31 * 640,)


def test_a_second_run_keeps_what_has_not_changed(videos, tmp_path):
    clips = tmp_path / "clips"
    run(videos, clips)
    manifest = (clips / "manifest.parquet").read_bytes()
    assert run(videos, clips).counts() == {"kept": 2}
    assert (clips / "manifest.parquet").read_bytes() == manifest
    (videos / "a.txt").write_text("A woman speaks.")
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    write_clip(videos / "below" / "a.mp4", frames=30, seed=3)
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    write_clip(videos / "a.mp4", frames=5)
    assert run(videos, clips).counts() == {"kept": 1, "skipped: too short": 1}
    assert len(list((clips / "clips").glob("??/*"))) == 1
    (videos / "a.mp4").unlink()
    (videos / "a.txt").unlink()
    assert run(videos, clips).counts() == {"kept": 1} and len(read_manifest(clips)) == 1
    next((clips / "clips").glob("??/*")).unlink()
    assert run(videos, clips).counts() == {"made": 1}


def test_contents_say_what_is_done_not_times(videos, tmp_path):
    clips = tmp_path / "clips"
    run(videos, clips)
    filter_clips(clips, ["probe"], workers=0, progress=False)
    for path in [*videos.rglob("*.mp4"), *clips.rglob("*.mp4")]:
        os.utime(path, (1, 1))
    assert run(videos, clips).counts() == {"kept": 2}
    assert filter_clips(clips, ["probe"], workers=0, progress=False)[0].counts() == {"kept": 2}
    source = videos / "a.mp4"
    times, content = source.stat(), bytearray(source.read_bytes())
    content[-1] ^= 1
    source.write_bytes(content)
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    clip = next((clips / "clips").rglob("a-*.mp4"))
    clip.write_bytes(clip.read_bytes() + b"by hand")
    assert filter_clips(clips, ["probe"], workers=0, progress=False)[0].counts() == {"kept": 1, "made": 1}


def test_another_threshold_makes_only_the_clips_that_it_is_about(videos, tmp_path, monkeypatch):
    """The two videos have 20 frames of 64 x 96."""
    write_clip(videos / "short.mp4", frames=12)
    clips, write, made = tmp_path / "clips", make.write_video, []

    def counted(path, frames, audio):
        made.append(path.name[0])
        write(path, frames, audio)

    monkeypatch.setattr(make, "write_video", counted)
    for settings, counts, written in (
        ({"min_frames": 15}, {"made": 2, "skipped: too short": 1}, ["a", "a", "s"]),
        ({"min_frames": 14}, {"kept": 2, "skipped: too short": 1}, []),
        ({"min_frames": 10}, {"kept": 2, "made": 1}, ["s"]),
        ({"min_frames": 15}, {"kept": 2, "skipped: too short": 1}, ["s"]),
        ({"min_frames": 15, "min_side": 65}, {"skipped: too small": 3}, []),
        ({"min_frames": 15, "min_side": 70}, {"skipped: too small": 3}, []),
        ({"min_frames": 15}, {"made": 2, "skipped: too short": 1}, ["a", "a", "s"]),
    ):
        made.clear()
        assert (run(videos, clips, **settings).counts(), sorted(made)) == (counts, written), settings
    assert len(list((clips / "clips").glob("??/*"))) == 2


def test_parts_make_the_clips_of_one_process(videos, tmp_path):
    run(videos, tmp_path / "one")
    assert len(run(videos, tmp_path / "two", process=(1, 2)).outcomes) == 1
    with pytest.raises(InputError, match="to its end"):
        read_manifest(tmp_path / "two")
    assert run(videos, tmp_path / "two", process=(0, 2)).counts() == {"made": 2}
    assert read_manifest(tmp_path / "two").data.equals(read_manifest(tmp_path / "one").data)
    assert json.loads((tmp_path / "two" / "report.json").read_text())["total"] == 2


def some_step(clip: Clip, clip_dir: Path) -> dict:
    return {"size": shelved(clip_dir / "clips", clip.id, ".mp4").stat().st_size}


def test_what_other_steps_found_stays(videos, tmp_path):
    clips = tmp_path / "clips"
    run(videos, clips)
    table = run_step(Step("other", some_step), read_manifest(clips), clips, workers=0, progress=False)
    write_clip(videos / "c.mp4")
    run(videos, clips)
    after = {clip.id: clip.facts["other.size"] for clip in read_manifest(clips)}
    assert len(after) == 3 and {clip.id: clip.facts["other.size"] for clip in table}.items() < after.items()


def test_an_interrupted_run_goes_on(videos, tmp_path, monkeypatch):
    clips, write, calls = tmp_path / "clips", make.write_video, []

    def interrupted(path, frames, audio):
        calls.append(path)
        if len(calls) == 2:
            next(frames)
            path.parent.mkdir(exist_ok=True)
            (path.parent / f".{path.name}.99.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, frames, audio)

    monkeypatch.setattr(make, "write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(videos, clips)
    assert len(list((clips / "clips").rglob("*.mp4"))) == 1
    with pytest.raises(InputError, match="to its end"):
        read_manifest(clips)
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    assert [path for path in clips.rglob(".*") if path.is_file() and path.name != ".lock"] == []


@pytest.mark.slow
def test_killed_before_any_rename_and_repeated_it_ends_the_same(videos, tmp_path):
    (videos / "a.txt").write_text("A man.")
    command = [sys.executable, "-m", "tests.data.clips.kill_prepare", str(videos), str(tmp_path / "work")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 7  # two videos, a prompt, that all is done, the columns, the table, the report


def test_processes_make_the_same_clips(videos, tmp_path):
    run(videos, tmp_path / "0")
    run(videos, tmp_path / "2", workers=2)
    assert (tmp_path / "0/manifest.parquet").read_bytes() == (tmp_path / "2/manifest.parquet").read_bytes()
    names = [sorted(path.name for path in (tmp_path / count / "clips").rglob("*.*")) for count in ("0", "2")]
    assert names[0] == names[1] and len(names[0]) == len(read_manifest(tmp_path / "2")) == 2


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no video here"):
        run(tmp_path, tmp_path / "clips")
    with pytest.raises(InputError, match="no such file or folder"):
        run(tmp_path / "gone.parquet", tmp_path / "clips")


def test_a_row_that_changes_is_done_again(tmp_path):
    write_clip(tmp_path / "v.mp4", frames=40)
    clip = Clip("c", "test", "v.mp4", caption="A man.")

    def counts(**changes):
        Table.from_clips([Clip(**{**vars(clip), **changes})]).write(tmp_path / "t.parquet")
        return run(tmp_path / "t.parquet", tmp_path / "clips").counts()

    assert counts() == {"made": 1} and counts() == {"kept": 1}
    changes = {"end": 1.0}, {"start": 0.5}, {"crop": (0.0, 0.0, 1.0, 0.5)}, {"caption": "A woman."}
    assert [(counts(**change), counts()) for change in changes] == [({"made": 1}, {"made": 1})] * 4
    assert counts(source="gone.mp4") == {"skipped: no source": 1}
    assert counts(caption="[0-1s] Waves.") == {"skipped: invalid prompt": 1}
