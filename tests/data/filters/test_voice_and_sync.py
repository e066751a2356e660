"""Speech told from noise, and sound that comes early or late by a known number of frames."""

import shutil

import numpy as np
import pytest

from actavatar_jax.media.clock import FPS, SAMPLE_RATE
from actavatar_jax.media.video import write_video
from data_pipelines.filters import filter_clips, sync
from data_pipelines.filters.sync import make_sync_step
from data_pipelines.filters.voice import CHUNK, detect_speech_by_pitch, detect_speech_by_silero
from data_pipelines.table import Clip, Skip, Table, read_manifest
from tests.data import tiny_models
from tests.data.fakes import make_clips

RNG = np.random.default_rng(0)
SECONDS = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE


def tone(pitch, loudness=0.1):
    """A buzz with the harmonics of a voice."""
    return (loudness * sum(np.sin(2 * np.pi * k * pitch * SECONDS) / k for k in range(1, 8))).astype(np.float32)


def noise(loudness=0.1):
    return (loudness * RNG.standard_normal(len(SECONDS))).astype(np.float32)


@pytest.mark.parametrize("pitch", [80, 120, 240, 380])
def test_a_periodic_sound_is_voiced(pitch):
    assert detect_speech_by_pitch(tone(pitch)).mean() > 0.95


@pytest.mark.parametrize("sound", [noise(), noise(0.0), tone(120, 1e-4)])
def test_noise_and_what_cannot_be_heard_is_not(sound):
    assert detect_speech_by_pitch(sound).mean() < 0.05


def test_pauses_between_words_belong_to_speech_and_long_ones_do_not():
    short, long = tone(120), tone(120)
    short[SAMPLE_RATE : SAMPLE_RATE + SAMPLE_RATE // 5] = 0
    long[SAMPLE_RATE : 2 * SAMPLE_RATE] = 0
    assert detect_speech_by_pitch(short).mean() > 0.95
    assert detect_speech_by_pitch(long).mean() == pytest.approx(2 / 3, abs=0.05)


def test_quiet_talk_behind_a_loud_voice_does_not_count():
    mixed = tone(120)
    mixed[SAMPLE_RATE:] *= 0.01
    assert detect_speech_by_pitch(mixed).mean() == pytest.approx(1 / 3, abs=0.05)


def test_shorter_than_one_piece_is_no_failure():
    assert detect_speech_by_pitch(tone(120)[:300]).shape == (1,)


def test_silero_gets_its_state_back_and_all_of_the_sound(tmp_path):
    pytest.importorskip("onnxruntime")
    model = tiny_models.voice(tmp_path / "voice.onnx")
    samples = tone(120)[: 10 * CHUNK + 100]
    samples[4 * CHUNK : 6 * CHUNK] = 0
    speech = detect_speech_by_silero(samples, model)
    # The model is silent in its first chunk, when nothing was returned to it yet; chunk 4 still sees a little of 3.
    assert speech.tolist() == [False, True, True, True, True, False, True, True, True, True, True]


def talker(folder, late=0, frames=75, face=True, seen=None):
    """A square whose red goes with the sound's energy; the sound comes `late` frames late. seen: in so many frames."""
    level = np.repeat(RNG.uniform(0, 1, frames // 3 + 8), 3)[: frames + 16]
    images = []
    for index, value in enumerate(level[8 : 8 + frames]):
        image = np.zeros((224, 256, 3), np.uint8)
        if face and (seen is None or index < seen):
            red = round(200 + 50 * value)
            image[64:160, 64:160] = red, 110, 40  # less of a face than its middle
            image[96:128, 96:128] = red, 40, 40
        images.append(image)
    energy = level[8 - late : 8 - late + frames]
    # The log energy of a piece changes by as much as the tiny model's feature of the square does.
    carrier = RNG.standard_normal(frames * SAMPLE_RATE // FPS)
    loudness = np.exp(np.repeat(energy, SAMPLE_RATE // FPS) * 50 * tiny_models.SEEN_TO_HEARD / 2)
    path = folder / "clips" / "talk.mp4"
    write_video(path, images, (0.005 * carrier * loudness).astype(np.float32))
    return Clip("talk", "corpus", "talk.mp4")


@pytest.fixture(scope="module")
def listening(tmp_path_factory):
    for package in ("onnxruntime", "cv2", "torch"):
        pytest.importorskip(package)
    return make_sync_step(tiny_models.all_models(tmp_path_factory.mktemp("models")))


@pytest.mark.parametrize("late", [0, 3, -4])
def test_the_offset_of_the_sound_is_found_with_its_sign(listening, late, tmp_path):
    row = listening.measure(talker(tmp_path, late), tmp_path)
    assert row["available"] and row["offset"] == late
    assert row["confidence"] > 0 and row["track"] == 71  # the last of every fifth frame is frame 70


def test_no_face_and_too_little_time_are_reasons(listening, tmp_path):
    with pytest.raises(Skip) as skip:
        listening.measure(talker(tmp_path, face=False), tmp_path)
    assert skip.value.reason == "no face"
    with pytest.raises(Skip) as skip:
        listening.measure(talker(tmp_path, seen=50), tmp_path)
    assert (skip.value.reason, skip.value.detail) == (
        "too short",
        "the most seen face is found in 46 frames; more than 50 are needed",
    )


def test_sync_looks_for_no_face_where_the_filter_before_it_has_and_finds_the_same(listening, tmp_path, monkeypatch):
    """Alone, behind `faces`, and behind a part of it that waits for others; at a clip that has changed, it looks."""
    talker(tmp_path)
    Table.from_clips([Clip("talk", "corpus", "talk.mp4")]).write(tmp_path / "manifest.parquet")
    shutil.copytree(tmp_path, whole := tmp_path.with_name("whole"))
    shutil.copytree(tmp_path, part := tmp_path.with_name("part"))
    models, options = listening.measure.models[0].parent, {"workers": 0, "progress": False}
    filter_clips(tmp_path, ["sync"], models, **options)
    looked, find = [], sync.find_faces
    monkeypatch.setattr(sync, "find_faces", lambda *given: looked.append(given) or find(*given))
    filter_clips(whole, ["faces", "sync"], models, **options)
    filter_clips(part, ["faces", "sync"], models, **options, process=(0, 2))
    assert not looked
    filter_clips(part, ["faces", "sync"], models, **options, process=(1, 2))
    files = [(folder / "columns" / "sync.parquet").read_bytes() for folder in (tmp_path, whole, part)]
    assert files[0] == files[1] == files[2]
    talker(whole, late=3, frames=125)
    (whole / "columns" / "sync.parquet").unlink()
    filter_clips(whole, ["sync"], models, **options)
    assert len(looked) == 1 and read_manifest(whole).column("sync.offset") == [3]


# ---- where filters run


def test_filters_find_the_same_through_processes_and_beam(tmp_path):
    pytest.importorskip("apache_beam", reason="needs Apache Beam, of the extra `data`")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no video")
    clips = make_clips(tmp_path, {"a": (31, 64, 96), "b": (20, 96, 64)})
    for runner, workers in (("processes", 1), ("beam", None)):
        folder = shutil.copytree(clips, tmp_path / runner)  # with its times, which name what was measured
        reports = filter_clips(folder, ["probe", "voice"], runner=runner, workers=workers, progress=False)
        assert [report.counts() for report in reports] == [{"made": 2, "skipped: no clip": 1}] * 2
    for name in ("probe", "voice"):
        files = [(tmp_path / runner / "columns" / f"{name}.parquet").read_bytes() for runner in ("processes", "beam")]
        assert files[0] == files[1]
    rows = {clip.id[0]: clip.facts for clip in read_manifest(tmp_path / "beam") if clip.facts["prepare.error"] is None}
    assert {name: row["probe.frames"] for name, row in rows.items()} == {"a": 31, "b": 20}
    assert {row["voice.method"] for row in rows.values()} == {"pitch"}
