"""Trimming: the longest shot, inside black borders, and nothing of what lies beside it."""

import dataclasses
import json
import sys

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media.image import fit_image
from actavatar_jax.media.video import load_video
from data_pipelines.filters.quality import MeasureQuality
from data_pipelines.filters.shots import measure_shots
from data_pipelines.table import Clip, Table, import_extra, read_manifest, shelved
from tests.data.clips.preparing import HEIGHT, WIDTH, make_video, onsets, rows_by_source, run

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
    path = shelved(folder / "clips" / "clips", clip.id, ".mp4")
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
    stored = json.loads(shelved(tmp_path / "clips/clips", "c", ".json").read_text())
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
    assert json.loads(shelved(tmp_path / "clips/clips", "c", ".json").read_text()) == {"base": "A man.", "phases": []}


def test_trimming_is_asked_for(film, tmp_path):
    clip = Clip("c", "test", str(film))
    row, video = trimmed(tmp_path, clip, trim=False)
    assert video.frames.shape == (165, 128, 192, 3) and numbers(video.frames, 0, 0) == list(range(165))
    assert not {"shots", "start", "end", "crop"} & row.keys()
    for settings, frames, counts in (({"trim": True}, 67, "made"), ({"trim": True}, 67, "kept"), ({}, 165, "made")):
        assert run(tmp_path / "t.parquet", tmp_path / "clips", **settings).counts() == {counts: 1}
        assert read_manifest(tmp_path / "clips").column("prepare.frames") == [frames]


@pytest.mark.slow
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
        files = [folder / "manifest.parquet", *sorted((folder / "clips").rglob("*.*"))]
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
