"""Stretches of videos: on the clock wherever they begin, sound with its picture, fields as whole pictures."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from actavatar_jax.media.video import load_video, probe
from data_pipelines.table import Clip, Table, read_manifest, shelved
from tests.data.clips.preparing import HEIGHT, WIDTH, make_video, onsets, rejected, rows_by_source, run
from tests.data.fakes import combs, write_clip, write_interlaced


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
    video = load_video(shelved(tmp_path / "clips" / "clips", "c", ".mp4"))
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
    left, right, over = (
        load_video(shelved(tmp_path / "clips" / "clips", i, ".mp4")) for i in ("left", "right", "over")
    )
    assert left.frames.shape == (60, 64, 48, 3) and right.frames.shape == (60, 32, 48, 3) and len(over.frames) == 25
    steps = np.flatnonzero(np.diff(left.frames.mean((1, 2, 3))) > 5) + 1
    np.testing.assert_allclose(steps / 25, np.array([4.5, 5.0, 5.5, 6.0]) - 4.1, atol=0.04)
    np.testing.assert_allclose(right.frames.mean((1, 2, 3)) * 4, left.frames.mean((1, 2, 3)), atol=12)
    assert len(left.audio) == 60 * 640 and np.abs(left.audio).mean() > 0.05
    prompt = json.loads(shelved(tmp_path / "clips" / "clips", "left", ".json").read_text())
    assert prompt == {"base": "A man.", "phases": []} and rows["right"].facts["prepare.prompt"] == "none"


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
    assert combs(load_video(shelved(tmp_path / "clips" / "clips", row["id"], ".mp4")).frames) < 2


@pytest.mark.slow
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
