"""Files of several streams: by rule one is taken, and said."""

import logging

import av
import numpy as np
import pytest
from av.stream import Disposition

from actavatar_jax.media import load_audio, load_video, probe
from actavatar_jax.media.notes import warn_once
from tests.media.sounds import tones


@pytest.fixture(autouse=True)
def said(caplog):
    warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        yield caplog


def several(path, greys=(), frequencies=(), marked=()):
    """A second of video streams of one grey each, then sound streams of one tone each; those marked are default."""
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("libx264", rate=25) for _ in greys]
        sounds = [container.add_stream("aac", rate=16000, layout="mono") for _ in frequencies]
        for number, stream in enumerate((*videos, *sounds)):
            stream.disposition = Disposition.default if number in marked else Disposition(0)
        for stream in videos:
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for stream, grey in zip(videos, greys, strict=True):
            for _ in range(25):
                frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), grey, np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for stream, frequency in zip(sounds, frequencies, strict=True):
            samples = tones(16000, 1, frequency)
            for start in range(0, 16000, 1024):
                block = np.ascontiguousarray(samples[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 16000, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def tone(samples):
    return np.abs(np.fft.rfft(samples[4000:12000])).argmax() * 2


@pytest.mark.parametrize(("marked", "grey", "frequency"), [((1, 3), 150, 600), ((), 50, 400), ((0, 1, 4), 50, 800)])
def test_the_default_or_else_the_first(tmp_path, said, marked, grey, frequency):
    path = several(tmp_path / "x.mkv", (50, 150), (400, 600, 800), marked)
    video = load_video(path)
    assert abs(int(video.frames[12].mean()) - grey) <= 2
    assert tone(video.audio) == tone(load_audio(path)) == frequency
    number = (frequency - 200) // 200
    assert [message.split(" has ")[1] for message in said.messages] == [
        f"2 video streams; number {(grey + 50) // 100} is taken",
        f"3 audio streams; number {number} is taken",
    ]


def test_one_of_each_needs_no_word(tmp_path, said):
    path = several(tmp_path / "x.mp4", (50,), (400,), (0, 1))
    assert load_video(path).audio is not None and not said.messages


def test_a_picture_on_the_sleeve_is_no_video(tmp_path, said):
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for stream, size, count in ((cover, 32, 1), (video, 64, 5)):
            for _ in range(count):
                frame = av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    assert load_video(tmp_path / "x.mp4").frames.shape[1:] == (64, 64, 3)
    assert probe(tmp_path / "x.mp4").codec == "h264" and not said.messages
