"""Preparing: every clip ends on the clock or with one reason, sound with its picture, and nothing is done twice."""

import dataclasses
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media.image import fit_image
from actavatar_jax.media.video import load_video, probe
from data_pipelines.clips import make, prepare_clips
from data_pipelines.filters.quality import MeasureQuality
from data_pipelines.filters.shots import measure_shots
from data_pipelines.selection.failures import find_failures
from data_pipelines.selection.ruleset import DEFAULT_RULES, RuleSet
from data_pipelines.table import Clip, Step, Table, import_extra, read_manifest, run_step
from tests.data.fakes import combs, write_clip, write_interlaced

HEIGHT, WIDTH = 64, 96


def run(videos, clips, **settings):
    return prepare_clips(videos, clips, **({"min_frames": 10, "min_side": 32, "progress": False} | settings))


def rows_by_source(clips):
    """Columns `prepare.*` and the id, by the last part of the source."""
    return {
        "/".join(Path(clip.source).parts[-2:] if "below" in clip.source else Path(clip.source).parts[-1:]): {
            "id": clip.id
        }
        | {name.removeprefix("prepare."): value for name, value in clip.facts.items()}
        for clip in read_manifest(clips)
    }


def rejected(clips):
    """{last part of a source: reason, or None} by what the default rules of stage 1 say of the time base."""
    rules = [rule for rule in RuleSet.load(DEFAULT_RULES / "stage1.yaml").rules if rule.column.startswith("prepare.")]
    table = read_manifest(clips)
    failures = zip(table.column("source"), find_failures(RuleSet(tuple(rules)), table), strict=True)
    return {Path(source).name: failure and failure[0] for source, failure in failures}


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
    assert sorted(p.name for p in (tmp_path / "clips" / "clips").iterdir()) == sorted(
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
    video = load_video(tmp_path / "clips" / "clips" / f"{row['id']}.mp4")
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
    assert len(list((clips / "clips").iterdir())) == 1
    (videos / "a.mp4").unlink()
    (videos / "a.txt").unlink()
    assert run(videos, clips).counts() == {"kept": 1} and len(read_manifest(clips)) == 1
    next((clips / "clips").iterdir()).unlink()
    assert run(videos, clips).counts() == {"made": 1}


def some_step(clip: Clip, clip_dir: Path) -> dict:
    return {"size": (clip_dir / "clips" / f"{clip.id}.mp4").stat().st_size}


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
            (path.parent / f".{path.name}.99.partial").write_bytes(b"half")
            raise KeyboardInterrupt
        write(path, frames, audio)

    monkeypatch.setattr(make, "write_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(videos, clips)
    assert len(list((clips / "clips").glob("*.mp4"))) == 1
    with pytest.raises(InputError, match="to its end"):
        read_manifest(clips)
    assert run(videos, clips).counts() == {"kept": 1, "made": 1}
    assert [path for path in clips.rglob(".*") if path.is_file()] == []


@pytest.mark.slow
def test_killed_before_any_rename_and_repeated_it_ends_the_same(videos, tmp_path):
    (videos / "a.txt").write_text("A man.")
    command = [sys.executable, "-m", "tests.data.clips.kill_prepare", str(videos), str(tmp_path / "work")]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 5  # two videos, a prompt, the table, the report


def test_processes_make_the_same_clips(videos, tmp_path):
    run(videos, tmp_path / "0")
    run(videos, tmp_path / "2", workers=2)
    assert (tmp_path / "0/manifest.parquet").read_bytes() == (tmp_path / "2/manifest.parquet").read_bytes()
    assert (
        sorted(os.listdir(tmp_path / "0/clips")) == sorted(os.listdir(tmp_path / "2/clips"))
        and len(read_manifest(tmp_path / "2")) == 2
    )


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no video here"):
        run(tmp_path, tmp_path / "clips")
    with pytest.raises(InputError, match="no such file or folder"):
        run(tmp_path / "gone.parquet", tmp_path / "clips")


# ---- stretches, crops and captions of a table


def make_video(path, images, times, audio, audio_start=0.0, turn=None):
    """Frames at `times` (milliseconds), key frames 250 apart, and a 44.1 kHz sound from `audio_start` seconds on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "50"})
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(**turn)
        sound = container.add_stream("aac", rate=44100, layout="mono")
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for start in range(0, len(audio), 1024):
            frame = av.AudioFrame.from_ndarray(audio[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start + round(audio_start * 44100)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def flashes_and_clicks(times, every=700, audio_start=0.0):
    """Grey frames, white for 0.12 s from the first time stamp after each `every` ms, and a click at that very stamp."""
    marks = {next(time for time in times if time >= at) for at in range(times[0] + every, times[-1] - 100, every)}
    white = [any(mark <= time < mark + 120 for mark in marks) for time in times]  # one picture alone may be dropped
    images = [np.full((HEIGHT, WIDTH, 3), 255 if lit else 20, np.uint8) for lit in white]
    audio = np.zeros(round((times[-1] / 1000 - audio_start) * 44100), np.float32)
    for time in marks:
        click = round((time / 1000 - audio_start) * 44100)
        audio[click : click + 300] = 0.8
    return images, audio


def onsets(signal: np.ndarray, threshold: float, dead: int) -> list[int]:
    """Where a signal rises above a threshold, at least `dead` apart."""
    found = []
    for i in np.flatnonzero(signal > threshold):
        if not found or i - found[-1] > dead:
            found.append(int(i))
    return found


def irregular(seed, start, count):
    return [int(t) for t in start + np.cumsum(np.random.default_rng(seed).integers(10, 40, count))]


@pytest.mark.parametrize(
    ("name", "times", "audio_start", "turn"),
    [
        ("fps30.mp4", [round(n * 1000 / 30) for n in range(180)], 0.0, None),
        ("vfr.mp4", irregular(0, 0, 250), 0.0, None),
        ("turned.mp4", irregular(1, 0, 250), 0.0, {"degrees": 90}),
        ("late_picture.mkv", irregular(2, 333, 250), 0.0, None),
        ("late_sound.mkv", irregular(3, 0, 250), 0.4, None),
    ],
)
@pytest.mark.parametrize(("start", "end"), [(0.0, None), (2.5, 5.1)])
def test_clicks_stay_with_flashes(tmp_path, name, times, audio_start, turn, start, end):
    images, audio = flashes_and_clicks(times, audio_start=audio_start)
    source = make_video(tmp_path / name, images, times, audio, audio_start, turn)
    Table.from_clips([Clip("c", "test", str(source), start, end)]).write(tmp_path / "t.parquet")
    assert run(tmp_path / "t.parquet", tmp_path / "clips").counts() == {"made": 1}
    (row,) = rows_by_source(tmp_path / "clips").values()
    assert row["slot_error_ms"] <= 20 and row["rotation"] == (0 if turn is None else probe(source).rotation)
    video = load_video(tmp_path / "clips" / "clips" / "c.mp4")
    assert video.frames.shape[1:3] == ((HEIGHT, WIDTH) if turn is None else (WIDTH, HEIGHT))
    flashes = np.array(onsets(video.frames.mean((1, 2, 3)), 100, 5)) / 25
    clicks = np.array(onsets(np.abs(video.audio), 0.3, 4000)) / 16000
    assert len(flashes) >= (3 if end else 5)
    assert len(flashes) == len(clicks) and np.abs(flashes - clicks).max() <= 0.04
    assert abs(row["seconds"] - ((end or times[-1] / 1000 - times[0] / 1000) - start)) <= 0.06


def test_films_are_on_the_clock_and_what_lacks_pictures_is_rejected(tmp_path):
    """A film of a length at which its last picture is held longest, one at times in whole milliseconds, one of gaps."""
    write_clip(tmp_path / "videos" / "film.mp4", frames=84, fps=24)
    times = {
        "ntsc.mkv": [round(n * 1001 / 24) for n in range(82)],
        "gaps.mkv": [round(n * 1000 / 30) for n in range(90) if n % 3],
    }
    for name, stamps in times.items():
        images, audio = flashes_and_clicks(stamps)
        make_video(tmp_path / "videos" / name, images, stamps, audio)
    run(tmp_path / "videos", tmp_path / "clips")
    errors = {name: row["slot_error_ms"] for name, row in rows_by_source(tmp_path / "clips").items()}
    assert errors == {"film.mp4": 21.667, "ntsc.mkv": 21, "gaps.mkv": 26}
    assert rejected(tmp_path / "clips") == {"film.mp4": None, "ntsc.mkv": None, "gaps.mkv": "too few pictures"}


def test_a_stretch_shows_what_the_video_shows_then(tmp_path):
    """Grey grows by a step each 0.5 s; a stretch between key frames begins and ends where it should, cropped."""
    times = [round(n * 1000 / 30) for n in range(300)]
    images = [np.full((HEIGHT, WIDTH, 3), 20 + 10 * (time // 500), np.uint8) for time in times]
    for image in images:
        image[:, WIDTH // 2 :] //= 4
    source = make_video(tmp_path / "v.mp4", images, times, np.zeros(441_000, np.float32) + 0.1)
    rows = [
        Clip("left", "test", "v.mp4", 4.1, 6.5, (0.0, 0.0, 0.5, 1.0), "A man."),
        Clip("right", "test", "v.mp4", 4.1, 6.5, (0.5, 0.25, 0.5, 0.5)),
        Clip("late", "test", "v.mp4", 12.0, 14.0),
        Clip("over", "test", "v.mp4", 9.0, 14.0),
    ]
    Table.from_clips(rows).write(tmp_path / "t.parquet")
    (tmp_path / "v.txt").write_text("The whole video.")
    assert run(tmp_path / "t.parquet", tmp_path / "clips").counts() == {"made": 3, "skipped: unreadable": 1}
    rows = {clip.id: clip for clip in read_manifest(tmp_path / "clips")}
    assert rows["left"].source == str(source) and "ends before 12.00 s" in rows["late"].facts["prepare.detail"]
    left, right, over = (load_video(tmp_path / "clips" / "clips" / f"{i}.mp4") for i in ("left", "right", "over"))
    assert left.frames.shape == (60, 64, 48, 3) and right.frames.shape == (60, 32, 48, 3) and len(over.frames) == 25
    steps = np.flatnonzero(np.diff(left.frames.mean((1, 2, 3))) > 5) + 1
    np.testing.assert_allclose(steps / 25, np.array([4.5, 5.0, 5.5, 6.0]) - 4.1, atol=0.04)
    np.testing.assert_allclose(right.frames.mean((1, 2, 3)) * 4, left.frames.mean((1, 2, 3)), atol=12)
    assert len(left.audio) == 60 * 640 and np.abs(left.audio).mean() > 0.05
    prompt = json.loads((tmp_path / "clips" / "clips" / "left.json").read_text())
    assert prompt == {"base": "A man.", "phases": []} and rows["right"].facts["prepare.prompt"] == "none"


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


# ---- fields


def test_interlaced_sources_become_whole_pictures(videos, tmp_path):
    write_interlaced(videos / "fields.mp4")
    run(videos, tmp_path / "clips")
    rows = rows_by_source(tmp_path / "clips")
    assert {name: row["interlaced"] for name, row in rows.items()} == {
        "a.mp4": False,
        "below/a.mp4": False,
        "fields.mp4": True,
    }
    row = rows["fields.mp4"]
    assert (row["frames"], row["seconds"], row["slot_error_ms"]) == (12, 0.48, 0)
    assert combs(load_video(tmp_path / "clips" / "clips" / f"{row['id']}.mp4").frames) < 2


# ---- trimming

SHOTS = (40, 75, 50)  # frames; of 25 a second
LIT = slice(20, 108), slice(32, 192)  # rows and columns of 128 x 192 that are not black
CODE = slice(56, 72), slice(64, 160)  # where a frame's number is written, eight bits in a row


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Three shots inside black borders; each has its tone, and frame 80, of the second, a click."""
    pytest.importorskip("scenedetect")
    images, sound, rng = [], [], np.random.default_rng(0)
    for pitch, length in zip((400, 800, 1600), SHOTS, strict=True):
        texture = fit_image(rng.integers(40, 256, (6, 8, 3), np.uint8), 88, 160)
        for number in range(len(images), len(images) + length):
            image = np.zeros((128, 192, 3), np.uint8)
            image[LIT] = texture
            bits = np.array([number >> bit & 1 for bit in range(8)])
            image[CODE] = np.where(np.repeat(bits, 12), 230, 50)[None, :, None]
            images.append(image)
        sound.append(0.1 * np.sin(2 * np.pi * pitch * np.arange(length * 1764) / 44100))
    sound = np.concatenate(sound).astype(np.float32)
    sound[80 * 1764 : 80 * 1764 + 300] = 0.9
    times = [40 * number for number in range(len(images))]
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", images, times, sound)


def numbers(frames, top, left):
    """The numbers written in pictures of which row `top` and column `left` of the film are the first."""
    row, first = CODE[0].start - top + 8, CODE[1].start - left + 6
    lit = frames[:, row, first : first + 8 * 12 : 12].mean(-1) > 140
    return (lit @ (1 << np.arange(8))).tolist()


def trimmed(folder, clip, **settings):
    """(row, video or None) of one clip of a table, in `folder`."""
    Table.from_clips([clip]).write(folder / "t.parquet")
    run(folder / "t.parquet", folder / "clips", **({"trim": True} | settings))
    (row,) = rows_by_source(folder / "clips").values()
    path = folder / "clips" / "clips" / f"{clip.id}.mp4"
    return row, load_video(path) if path.is_file() else None


def test_a_film_becomes_its_longest_shot_without_borders(film, tmp_path):
    phases = [(0, 1.5, "Nods."), (2, 4, "Waves."), (4, 6.4, "Bows.")]
    rows = [{"start": start, "end": end, "action": action} for start, end, action in phases]
    prompt = film.with_suffix(".json")
    prompt.write_text(json.dumps({"base": "A man.", "phases": rows}))
    row, video = trimmed(tmp_path, Clip("c", "test", str(film)))
    prompt.unlink()

    assert numbers(video.frames, 21, 33) == list(range(44, 111))  # 4 frames beside each cut are left out
    assert video.frames.shape[1:] == (86, 158, 3)  # as borders have soft edges, a pixel less at each
    found = {"shots": 3, "start": 1.76, "end": 4.44, "frames": 67, "height": 86, "width": 158}
    assert row | found == row and row["crop"] == pytest.approx([33 / 192, 21 / 128, 159 / 192, 86 / 128])

    clicks = onsets(np.abs(video.audio), 0.4, 4000)
    assert len(clicks) == 1 and abs(clicks[0] / 16000 - (80 - 44) / 25) <= 0.02
    spectrum = np.abs(np.fft.rfft(video.audio[: 32 * 640]))
    assert spectrum.argmax() * 16000 / (32 * 640) == pytest.approx(800, abs=2)
    stored = json.loads((tmp_path / "clips/clips/c.json").read_text())
    windows = [(p["action"], p["start"], p["end"]) for p in stored["phases"]]
    expected = [("Waves.", 0.24, 2.24), ("Bows.", 2.24, 2.68)]
    assert windows == [(name, pytest.approx(a), pytest.approx(b)) for name, a, b in expected]

    (clip,) = read_manifest(tmp_path / "clips")
    assert measure_shots(clip, tmp_path / "clips")["cuts"] == 0
    assert MeasureQuality(None)(clip, tmp_path / "clips")["black_border"] == 0


def test_trimming_stays_inside_the_stretch_and_the_crop_of_a_table(film, tmp_path):
    """A stretch from the first shot to the middle of the second; the lower border is outside of the crop."""
    clip = Clip("c", "test", str(film), 1.2, 3.6, (0.25, 0.0, 0.625, 0.75), "A man.")
    row, video = trimmed(tmp_path, clip)
    assert numbers(video.frames, 21, 48) == list(range(44, 90))
    assert video.frames.shape[1:] == (74, 120, 3)
    assert (row["shots"], row["start"], row["end"]) == (2, 1.76, 3.6)
    row, video = trimmed(tmp_path, dataclasses.replace(clip, start=2.0))
    assert numbers(video.frames, 21, 48) == list(range(50, 90)) and (row["shots"], row["start"]) == (1, 2.0)
    assert json.loads((tmp_path / "clips/clips/c.json").read_text()) == {"base": "A man.", "phases": []}


def test_trimming_is_asked_for(film, tmp_path):
    clip = Clip("c", "test", str(film))
    row, video = trimmed(tmp_path, clip, trim=False)
    assert video.frames.shape == (165, 128, 192, 3) and numbers(video.frames, 0, 0) == list(range(165))
    assert not {"shots", "start", "end", "crop"} & row.keys()
    for settings, frames, counts in (({"trim": True}, 67, "made"), ({"trim": True}, 67, "kept"), ({}, 165, "made")):
        assert run(tmp_path / "t.parquet", tmp_path / "clips", **settings).counts() == {counts: 1}
        assert read_manifest(tmp_path / "clips").column("prepare.frames") == [frames]


def test_whatever_runs_it_trims_to_the_same_bytes(film, tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    crop = (0.25, 0.0, 0.625, 0.75)
    rows = [
        Clip("a", "test", str(film), caption="A man."),
        Clip("b", "test", str(film), 1.2, 3.6, crop),
        Clip("c", "test", str(film), 1.5, 1.7),
    ]
    Table.from_clips(rows).write(tmp_path / "t.parquet")
    made = []
    for name, settings in {"inline": {"workers": 0}, "two": {"workers": 2}, "beam": {"runner": "beam"}}.items():
        folder = tmp_path / name
        report = run(tmp_path / "t.parquet", folder, trim=True, **settings)
        assert report.counts() == {"made": 2, "skipped: too short": 1}
        files = [folder / "manifest.parquet", *sorted((folder / "clips").iterdir())]
        made.append({path.name: path.read_bytes() for path in files})
    assert made[0].keys() == {"manifest.parquet", "a.json", "a.mp4", "b.mp4"}
    assert made[0] == made[1] == made[2] and read_manifest(folder).column("prepare.shots") == [3, 2, None]


def test_the_least_size_and_length_are_those_of_the_trimmed_clip(film, tmp_path):
    clip = Clip("c", "test", str(film))
    assert [trimmed(tmp_path, clip, **least)[0]["error"] for least in ({"min_frames": 68}, {"min_side": 87})] == [
        "too short",
        "too small",
    ]
    assert trimmed(tmp_path, clip, min_frames=67, min_side=86)[0]["error"] is None


def test_the_borders_are_those_of_the_shot_that_is_kept(tmp_path):
    pytest.importorskip("scenedetect")
    whole, boxed = np.full((128, 192, 3), 90, np.uint8), np.zeros((128, 192, 3), np.uint8)
    boxed[LIT] = 220
    images, sound = [whole] * 20 + [boxed] * 40, np.full(60 * 1764, 0.1, np.float32)
    film = make_video(tmp_path / "film.mp4", images, range(0, 40 * len(images), 40), sound)
    row, video = trimmed(tmp_path, Clip("c", "test", str(film)))
    assert (row["shots"], row["start"], row["frames"]) == (2, 0.96, 36)
    assert video.frames.shape[1:] == (86, 158, 3)


def test_black_clips_keep_their_size_and_flicker_has_no_shot(tmp_path):
    pytest.importorskip("scenedetect")
    sound = np.full(44100, 0.1, np.float32)
    black = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 25
    flicker, faster = (
        [np.full((HEIGHT, WIDTH, 3), 40 + 160 * (number // each % 2), np.uint8) for number in range(24)]
        for each in (4, 2)
    )
    for name, images in {"black": black, "flicker": flicker, "faster": faster}.items():
        make_video(tmp_path / "videos" / f"{name}.mp4", images, range(0, 40 * len(images), 40), sound)
    run(tmp_path / "videos", tmp_path / "clips", trim=True)
    rows = rows_by_source(tmp_path / "clips")
    assert (rows["black.mp4"]["height"], rows["black.mp4"]["width"], rows["black.mp4"]["shots"]) == (HEIGHT, WIDTH, 1)
    for name in ("flicker.mp4", "faster.mp4"):
        assert rows[name]["error"] == "too short" and "no shot is longer" in rows[name]["detail"]


def test_trimming_without_its_package_is_one_sentence(videos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scenedetect", None)
    import_extra.cache_clear()
    with pytest.raises(InputError, match=r'this needs scenedetect: pip install "actavatar-jax\[data\]"'):
        run(videos, tmp_path / "clips", trim=True)
    assert not (tmp_path / "clips").exists()


# ---- real media


def test_real_media(media, tmp_path):
    """30 fps, also with a display rotation, is on the clock; 22 pictures a second at uneven times cannot be."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("v03_suit_man_vfr.mp4", "v12_no_audio_track_25fps.mp4", "v04_blue_woman_30fps.mp4"):
        (folder / name).symlink_to(media / "videos" / name)
    turn(media / "videos" / "v04_blue_woman_30fps.mp4", folder / "turned.mp4")
    assert run(folder, tmp_path / "clips").counts() == {"made": 3, "skipped: no audio stream": 1}
    rows = rows_by_source(tmp_path / "clips")
    assert (rows["v03_suit_man_vfr.mp4"]["height"], rows["v03_suit_man_vfr.mp4"]["width"]) == (700, 700)
    assert abs(rows["v03_suit_man_vfr.mp4"]["seconds"] - 6.1) <= 0.05
    upright, turned = rows["v04_blue_woman_30fps.mp4"], rows["turned.mp4"]
    assert (turned["height"], turned["width"]) == (upright["width"], upright["height"]) and turned["rotation"] != 0
    assert upright["slot_error_ms"] <= 20 and turned["slot_error_ms"] <= 20
    assert 22 < best_slot_error(folder / "v03_suit_man_vfr.mp4") <= rows["v03_suit_man_vfr.mp4"]["slot_error_ms"]
    assert rejected(tmp_path / "clips") == {
        "v03_suit_man_vfr.mp4": "too few pictures",
        "v04_blue_woman_30fps.mp4": None,
        "turned.mp4": None,
        "v12_no_audio_track_25fps.mp4": "not prepared",
    }


def best_slot_error(video: Path) -> float:
    """Milliseconds from a 25 fps slot to the nearest picture at most, by the best shift of the slots."""
    with av.open(str(video)) as container:
        times = sorted(1000 * float(frame.pts * frame.time_base) for frame in container.decode(video=0))
    slots = np.arange(times[0], times[-1] - 40, 40)
    return min(np.abs(np.subtract.outer(slots + shift, times)).min(1).max() for shift in range(40))


def turn(source: Path, target: Path) -> None:
    """The same packets, with the note that players shall turn the picture."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        streams[old.streams.video[0].index].set_display_rotation(degrees=90)
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
