"""What is opened at all: anything else is refused in one sentence, at once, without being read."""

import os
import socket

import av
import numpy as np
import pytest
from PIL import Image

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_audio, load_image, load_video, probe, write_video
from tests.media.sounds import encode, tones

LOADERS = load_audio, load_image, load_video, probe


def refusal(load, path):
    with pytest.raises(InputError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 400 and text.endswith(".")
    return text


def links_in_a_circle(path):
    path.symlink_to(path)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


MADE = {
    "a folder": os.mkdir,
    "it is empty": lambda path: path.write_bytes(b""),
    "pipe, a socket or a device": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "socket": a_socket,
    "a link to a file that is gone": lambda path: path.symlink_to(path.with_name("gone")),
    "no such file": lambda path: None,
    "too many levels of symbolic links": links_in_a_circle,
}


@pytest.mark.parametrize("fault", MADE)
@pytest.mark.parametrize("load", LOADERS)
def test_what_is_no_regular_file_is_not_opened(tmp_path, monkeypatch, fault, load):
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    path = type(tmp_path)("x.mp4")
    MADE[fault](path)
    assert fault in refusal(load, path)


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("name", ["a" * 300 + ".mp4", "a\0b.mp4", "b" * 5000, "line\nbreak.mp4", "half\udce4.mp4"])
def test_odd_names(tmp_path, load, name):
    refusal(load, tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("load", LOADERS)
def test_no_permission(tmp_path, load):
    (tmp_path / "x.mp4").write_bytes(b"x")
    (tmp_path / "x.mp4").chmod(0)
    assert "permission" in refusal(load, tmp_path / "x.mp4")


@pytest.mark.parametrize("name", ["talk12:30.wav", "http:x.wav", "pipe:0.wav", "file:x.wav", "%03d.wav", "a b#?.wav"])
def test_names_are_names_and_no_protocols(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    encode(tmp_path / "plain.wav", tones(16000, 1, 440), 16000).rename(name)
    assert len(load_audio(name)) == 16000 == len(load_audio(tmp_path / name))
    video = name.replace("wav", "mp4")
    write_video(video, np.zeros((5, 64, 64, 3), np.uint8))
    assert (tmp_path / video).is_file() and probe(video).frames == 5
    Image.new("RGB", (64, 64)).save(tmp_path / "plain.png")
    (tmp_path / "plain.png").rename(name.replace("wav", "png"))
    assert load_image(name.replace("wav", "png")).shape == (64, 64, 3)


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {other}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    '<Representation id="1" bandwidth="1"><BaseURL>{other}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"></svg>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("name", ["x.wav", "x.mp4", "x.m3u8", "x.mpd"])
def test_playlists_do_not_lead_to_other_files(tmp_path, monkeypatch, kind, name):
    monkeypatch.chdir(tmp_path)
    other = encode(tmp_path / "private.wav", tones(16000, 1, 440), 16000)
    for target in (other, other.name):
        (tmp_path / name).write_text(PLAYLISTS[kind].format(other=target))
        for load in (load_audio, load_video, probe):
            assert "accepted are files such as" in refusal(load, tmp_path / name)


def test_postscript_starts_no_interpreter(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", None)  # an attempt would be another error
    (tmp_path / "x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
    )
    assert "unknown format" in refusal(load_image, tmp_path / "x.png")


@pytest.mark.parametrize("kind", ["ICNS", "PCX", "TGA", "SGI", "PDF"])
def test_pictures_of_other_kinds_are_refused(tmp_path, kind):
    Image.new("RGB", (64, 64)).save(tmp_path / "x.png", kind)
    assert "PNG, JPEG, WEBP" in refusal(load_image, tmp_path / "x.png")


SOUNDS = {
    "x.wav": ("pcm_s16le", "s16"), "x.w64": ("pcm_s16le", "s16"), "x.aiff": ("pcm_s16be", "s16"),
    "x.caf": ("pcm_s16be", "s16"), "x.au": ("pcm_s16be", "s16"), "x.flac": ("flac", "s16"),
    "x.wv": ("wavpack", "s16p"), "x.tta": ("tta", "s16"), "x.mp3": ("libmp3lame", "fltp"), "x.aac": ("aac", "fltp"),
    "x.m4a": ("aac", "fltp"), "x.ac3": ("ac3", "fltp"), "x.eac3": ("eac3", "fltp"), "x.ogg": ("libopus", "flt"),
    "x.mka": ("libopus", "flt"), "x.mp2": ("mp2", "s16"),
}  # fmt: skip


@pytest.mark.parametrize("name", SOUNDS)
def test_sounds_of_all_usual_kinds_are_read(tmp_path, name):
    codec, form = SOUNDS[name]
    heard = load_audio(encode(tmp_path / name, tones(48000, 1, 440), 48000, codec, form))
    assert len(heard) == pytest.approx(16000, abs=1600)
    spectrum = np.abs(np.fft.rfft(heard[4000:12000]))
    assert spectrum.argmax() == 220 and spectrum[220] / 4000 == pytest.approx(0.5, abs=0.03)


VIDEOS = {
    "mp4": "libx264", "m4v": "libx264", "mov": "libx264", "3gp": "mpeg4", "mkv": "libx264", "webm": "libvpx",
    "avi": "mpeg4", "ts": "libx264", "mts": "libx264", "m2ts": "mpeg2video", "mpg": "mpeg2video",
    "mpeg": "mpeg1video", "flv": "flv", "wmv": "wmv2",
}  # fmt: skip


def grey_video(path):
    """A grey that grows, of 25 frames a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(VIDEOS[path.suffix[1:]], rate=25)
        stream.width = stream.height = 64
        stream.bit_rate = 1_000_000
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 4 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", VIDEOS)
def test_videos_of_all_usual_kinds_are_read(tmp_path, suffix, caplog):
    frames = load_video(grey_video(tmp_path / f"x.{suffix}")).frames
    assert len(frames) - 50 in ((0, 1) if suffix.startswith("mp") else (0,)) and not caplog.records
    np.testing.assert_allclose(frames[:50].mean((1, 2, 3)), 20 + 4 * np.arange(50), atol=5)


@pytest.mark.parametrize("suffix", VIDEOS)
def test_damage_never_ends_in_another_error(tmp_path, suffix):
    path, rng = grey_video(tmp_path / f"x.{suffix}"), np.random.default_rng(0)
    whole = path.read_bytes()
    for attempt in range(20):
        data = bytearray(whole[: len(whole) * attempt // 20] if attempt % 3 == 0 else whole)
        for place in rng.integers(0, max(1, len(data) if attempt % 2 else min(len(data), 1000)), 8):
            data[place : place + 1] = rng.bytes(1)
        path.write_bytes(data)
        for load in (load_video, load_audio, probe):
            try:
                load(path)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) <= 400
