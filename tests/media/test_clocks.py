"""Clocks that lie: sound and pictures stay where their time stamps say, within 40 ms, and what was done is logged."""

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_audio, load_video
from actavatar_jax.media.notes import warn_once
from tests.media.recordings import clicks, flashes, record

BLOCK = 0.02
MARKS = 1, 3, 5, 7


@pytest.fixture(autouse=True)
def said(caplog):
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


def blocks(pace=1.0, seconds=8.0):
    return np.arange(0, seconds, BLOCK * pace)


@pytest.mark.parametrize("pace", [0.9, 0.98, 0.999, 1.0, 1.001, 1.02, 1.1])
def test_sound_stays_with_its_stamps_however_its_clock_runs(tmp_path, said, pace):
    video = load_video(record(tmp_path / "x.mkv", 8, MARKS, blocks=blocks(pace)))
    np.testing.assert_allclose(flashes(video.frames), MARKS, atol=0.001)
    heard = clicks(video.audio)
    assert np.abs(heard[:4] - MARKS).max() <= 0.041
    assert len(video.audio) == 8 * 16000
    moved = [message for message in said.messages if "does not go with its time stamps" in message]
    assert len(moved) == len(said.messages) == (abs(pace - 1) * 8 > 0.04)  # once, if it ran away at all


@pytest.mark.parametrize(
    ("at", "by", "told"),
    [
        (4.0, 0.5, "0.50 s of silence put in and 0.00 s of sound left out, at 1 places"),
        (4.0, -0.5, "0.00 s of silence put in and 0.50 s of sound left out, at"),
        (4.0, 0.03, None),
        (4.0, -0.03, None),
    ],
)
def test_holes_are_silent_and_overlaps_are_heard_once(tmp_path, said, at, by, told):
    stamps = np.concatenate([np.arange(0, at, BLOCK), np.arange(at + by, 8, BLOCK)])
    samples = load_audio(record(tmp_path / "x.mkv", 8, MARKS, blocks=stamps))
    assert np.abs(clicks(samples) - MARKS).max() <= (0.031 if told is None else 0.001)
    assert len(samples) == pytest.approx(8 * 16000 - (by * 16000 if told is None else 0), abs=330)
    assert not said.messages if told is None else [told in message for message in said.messages] == [True]


@pytest.mark.parametrize(("at", "by"), [(4.0, 61.0), (4.0, -1.5)])
@pytest.mark.parametrize("what", ["blocks", "pictures"])
def test_jumps_that_cannot_be_bridged_are_refused(tmp_path, what, at, by):
    step = BLOCK if what == "blocks" else 0.04
    stamps = np.concatenate([np.arange(0, at, step), np.arange(at + by, at + by + 4, step)])
    path = record(tmp_path / "x.mkv", 8, MARKS, **{what: stamps}, codec="ffv1")
    with pytest.raises(InputError, match=r"jumps in time from 4\.0\d s to|from 3\.9\d s to") as caught:
        load_video(path)
    assert str(caught.value).endswith("cut it into parts.")


@pytest.mark.parametrize("by", [61.0, -1.5, -4.0])
def test_parts_of_sound_without_a_picture_are_joined(tmp_path, said, by):
    stamps = np.concatenate([np.arange(0, 4, BLOCK), np.arange(4 + by, 8 + by, BLOCK)])
    samples = load_audio(record(tmp_path / "x.mkv", 8, (1, 3, 5 + by, 7 + by), blocks=stamps))
    assert len(samples) == pytest.approx(8 * 16000, abs=330)
    assert set(np.round(clicks(samples), 2)) >= {1, 3, 5, 7}
    assert ["begin anew; its 2 parts are joined" in message for message in said.messages] == [True]


def test_one_ogg_behind_another(tmp_path, said):
    """Each has a clock of its own."""
    once = Path(__file__).with_name("bursts.ogg").read_bytes()
    (tmp_path / "x.ogg").write_bytes(2 * once)
    samples = load_audio(tmp_path / "x.ogg")
    assert len(samples) == pytest.approx(8 * 16000, abs=500)  # of a block more at the end of the first
    assert ["its 2 parts are joined" in message for message in said.messages] == [True]


def test_a_hole_in_the_pictures_is_held_and_said(tmp_path, said):
    stamps = np.concatenate([np.arange(0, 2, 0.04), np.arange(5, 8, 0.04)])
    video = load_video(record(tmp_path / "x.mkv", 8, (1, 6), pictures=stamps))
    assert len(video.frames) == 200
    np.testing.assert_allclose(flashes(video.frames), (1, 6), atol=0.001)
    np.testing.assert_allclose(clicks(video.audio), (1, 6), atol=0.001)
    assert ["some are missing, and those before are held" in message for message in said.messages] == [True]


def test_pictures_that_come_late_are_left_out_and_said(tmp_path, said):
    stamps = [*np.arange(0, 4, 0.04), *np.arange(3.6, 8, 0.04)]
    video = load_video(record(tmp_path / "x.mkv", 8, MARKS, pictures=stamps, codec="ffv1"))
    assert len(video.frames) == 200
    np.testing.assert_allclose(flashes(video.frames), MARKS, atol=0.001)
    assert ["some come too late and are left out" in message for message in said.messages] == [True]


def test_both_clocks_begin_where_the_picture_does(tmp_path, said):
    """Sound first, picture later; and the other way round."""
    pictures = np.arange(2, 8, 0.04)
    video = load_video(record(tmp_path / "late_picture.mkv", 8, MARKS, pictures=pictures))
    np.testing.assert_allclose(clicks(video.audio), np.array([1, 3, 5]), atol=0.001)
    np.testing.assert_allclose(flashes(video.frames), np.array([1, 3, 5]), atol=0.001)
    video = load_video(record(tmp_path / "late_sound.mkv", 8, MARKS, blocks=np.arange(2, 8, BLOCK)))
    np.testing.assert_allclose(clicks(video.audio), np.array([3, 5, 7]), atol=0.001)
    assert not said.messages


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        *((codec, suffix) for codec in ("libx264", "mpeg2video", "libx265") for suffix in ("ts", "mkv")),
        ("mpeg4", "mkv"),
    ],
)
def test_a_file_that_begins_in_the_middle_of_a_group_of_pictures(tmp_path, said, codec, suffix):
    """What lacks its key picture is left out, sound with it, and the rest stays together."""
    whole = record_groups(tmp_path / "whole.mkv", codec)
    path = without_beginning(whole, tmp_path / f"x.{suffix}", 1.2)
    video = load_video(path)
    greys = video.frames.mean((1, 2, 3))
    assert len(greys) == 75  # groups of two seconds: the first 0.8 s are of the group whose key picture is gone
    np.testing.assert_allclose(greys, 20 + np.arange(50, 125), atol=3)
    np.testing.assert_allclose(clicks(video.audio), [0.0, 1.0, 2.0], atol=0.03)
    assert ["first 0.80 s lack their key picture" in message for message in said.messages] == [True]


def record_groups(path, codec):
    """Five seconds of a grey that grows by one each picture, with a key picture every 50 and a click every second."""
    no_cuts = "0" if codec == "libx264" else "1000000000"
    options = {"g": "50", "bf": "0", "x265-params": "log-level=none", "sc_threshold": no_cuts}
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt, video.bit_rate = 64, 64, "yuv420p", 2_000_000
        sound = container.add_stream("mp2", rate=48000, layout="mono")
        for number in range(125):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + number, np.uint8), format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        times = np.arange(5 * 48000) / 48000
        samples = (20000 * ((times % 1 < 0.02) & (times >= 1))).astype(np.int16)
        for start in range(0, len(samples), 1152):
            block = av.AudioFrame.from_ndarray(samples[None, start : start + 1152], format="s16", layout="mono")
            block.sample_rate, block.pts = 48000, start
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path


def without_beginning(source, target, seconds):
    """The packets from so many seconds on."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is not None and packet.pts * packet.time_base >= seconds:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    return target
