"""Video in and out: the 25 fps clock by time stamp, sound aligned with pictures, mp4 written whole or not at all."""

import logging
from fractions import Fraction

import av
import numpy as np
import psutil
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import Video, clock, fields, load_audio, load_video, probe, read_frames, video, write_video
from tests.data.fakes import combs, write_interlaced

HEIGHT, WIDTH = 64, 96
QUADRANTS = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "white": (240, 240, 240)}


def quadrants(height=HEIGHT, width=WIDTH):
    """red green / blue white."""
    image = np.empty((height, width, 3), np.uint8)
    for color, (row, column) in zip(QUADRANTS.values(), [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        image[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2] = color
    return image


def corners(image):
    """Names of the colours nearest to the four corners, in reading order."""
    h, w = image.shape[:2]
    colors = np.array(list(QUADRANTS.values()))
    points = [image[y, x].astype(int) for y in (h // 5, h - h // 5) for x in (w // 5, w - w // 5)]
    return [list(QUADRANTS)[np.abs(colors - point).sum(1).argmin()] for point in points]


def make_video(path, images, times, audio=None, audio_start=0.0, codec="libx264", pixel_aspect=None, turn=None):
    """Frames at `times` (milliseconds), and a 44.1 kHz sound whose first sample is at `audio_start` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if pixel_aspect:
            stream.sample_aspect_ratio = pixel_aspect
        if turn:
            stream.set_display_rotation(**turn)
        sound = None if audio is None else container.add_stream("aac", rate=44100, layout="mono")
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            for start in range(0, len(audio), 1024):
                frame = av.AudioFrame.from_ndarray(audio[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44100, start + round(audio_start * 44100)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def flash_and_click(times, at, audio_start=0.0, seconds=3.0):
    """Black frames that turn white at the first time stamp from `at` ms on, and a click at that very time stamp."""
    white = next(time for time in times if time >= at)
    images = [np.full((HEIGHT, WIDTH, 3), 255 if time >= white else 0, np.uint8) for time in times]
    audio = np.zeros(round(seconds * 44100), np.float32)
    click = round((white / 1000 - audio_start) * 44100)
    audio[click : click + 400] = 0.8
    return images, audio


def refusal(source):
    with pytest.raises(InputError) as caught:
        load_video(source)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def irregular(seed, start, count=70):
    return list(start + np.cumsum(np.random.default_rng(seed).integers(10, 40, count)))


@pytest.mark.parametrize(
    ("name", "times", "audio_start", "turn"),
    [
        ("fps30.mp4", [round(n * 1000 / 30) for n in range(60)], 0.0, None),
        ("vfr.mp4", irregular(0, 0), 0.0, None),
        ("turned.mp4", irregular(1, 0), 0.0, {"degrees": 90}),
        ("late_picture.mp4", irregular(2, 333), 0.0, None),
        ("late_picture.mkv", irregular(3, 333), 0.0, None),
        ("late_sound.mkv", irregular(4, 0), 0.4, None),
        ("slow.mp4", [n * 100 for n in range(20)], 0.0, None),
        ("fps60.mkv", [round(n * 1000 / 60) for n in range(100)], 0.0, None),
    ],
)
def test_flash_and_click_stay_together(tmp_path, name, times, audio_start, turn):
    images, audio = flash_and_click(times, at=times[0] + 900, audio_start=audio_start)
    path = make_video(tmp_path / name, images, [int(time) for time in times], audio, audio_start, turn=turn)
    clip = load_video(path)
    flash = np.argmax(clip.frames.mean((1, 2, 3)) > 128) / 25
    click = np.argmax(np.abs(clip.audio) > 0.3) / 16000
    spacing = max(np.diff(times)) / 1000
    assert abs(flash - click) <= max(0.02, spacing / 2) + 0.003
    assert len(clip.audio) == len(clip.frames) * 640
    assert abs(len(clip.frames) / 25 - (times[-1] - times[0]) / 1000) < 0.04 + spacing


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ({"degrees": 0}, ["red", "green", "blue", "white"]),
        ({"degrees": 90}, ["green", "white", "red", "blue"]),
        ({"degrees": -90}, ["blue", "red", "white", "green"]),
        ({"degrees": 180}, ["white", "blue", "green", "red"]),
        ({"degrees": 0, "hflip": True}, ["green", "red", "white", "blue"]),
        ({"degrees": 90, "hflip": True}, None),
    ],
)
def test_turned_and_mirrored_as_the_file_asks(tmp_path, turn, expected):
    path = make_video(tmp_path / "x.mp4", [quadrants()] * 4, [0, 40, 80, 120], turn=turn)
    frames, info = load_video(path).frames, probe(path)
    upright = turn["degrees"] in (0, 180)
    assert frames.shape == (4, *((HEIGHT, WIDTH) if upright else (WIDTH, HEIGHT)), 3)
    assert (info.height, info.width) == frames.shape[1:3]
    if expected is None:  # a mirrored quarter turn: the mirror image of the turn without it, in rows or columns
        plain = ["green", "white", "red", "blue"]
        expected = [plain[i] for i in (1, 0, 3, 2)]
    assert corners(frames[0]) == expected
    small = load_video(path, size=(40, 40)).frames
    assert small.shape == (4, 40, 40, 3)
    assert corners(small[0]) == expected


def test_pixels_that_are_not_square(tmp_path):
    path = make_video(tmp_path / "x.mp4", [quadrants()] * 2, [0, 40], pixel_aspect=Fraction(4, 3))
    assert load_video(path).frames.shape == (2, HEIGHT, WIDTH * 4 // 3, 3)


@pytest.mark.parametrize(("name", "codec"), [("x.mp4", "libx265"), ("x.mov", "mpeg4"), ("x.webm", "libvpx")])
def test_codecs(tmp_path, name, codec):
    path = make_video(tmp_path / name, [quadrants()] * 10, range(0, 400, 40), codec=codec)
    frames, info = load_video(path).frames, probe(path)
    assert frames.shape == (10, HEIGHT, WIDTH, 3)
    assert corners(frames[-1]) == list(QUADRANTS)
    assert info.frames == 10
    assert abs(info.duration - 0.4) < 0.05
    assert abs(info.fps - 25) < 1


def stored(path):
    """The frames as they are in the file."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("count", [1, 2, 12])
@pytest.mark.parametrize("turn", [0, 90])
def test_fields_are_made_whole_pictures_at_the_same_times(tmp_path, count, turn):
    path = write_interlaced(tmp_path / "x.mp4", count, turn)
    woven, frames = stored(path), load_video(path).frames
    assert all(frame.interlaced_frame for frame in woven) and len(frames) == count
    times = [(time, lasting) for time, lasting, _ in video._decoded(path)]
    assert times == [(frame.pts * frame.time_base, frame.duration * frame.time_base) for frame in woven]
    assert combs(np.stack([frame.to_ndarray(format="rgb24") for frame in woven])) > 20
    if count == 1:  # a picture without neighbours stays woven
        return
    upright = frames if turn == 0 else np.rot90(frames, -1, axes=(1, 2))
    assert combs(upright) < 2
    bars = (upright[..., 1].mean(1) > 150).argmax(1)
    np.testing.assert_allclose(bars, 8 + 12 * np.arange(count), atol=1)  # where the first field shows it


def test_pictures_without_fields_are_not_touched(tmp_path):
    """Nor are they in the neighbourhood of others, or where their size changes."""
    height, width = 128, 192
    plain = stored(make_video(tmp_path / "plain.mp4", list(moving(8, height, width)), range(0, 320, 40)))
    woven = stored(write_interlaced(tmp_path / "woven.mp4", 5))
    taller = stored(write_interlaced(tmp_path / "taller.mp4", 5, height=256))
    assert [(frame, False) for frame in plain] == list(fields.deinterlaced(plain))  # the very same

    frames = [*plain[:3], *woven, *plain[3:], *taller]
    for number, frame in enumerate(frames[:13]):
        frame.pts, frame.time_base = number, Fraction(1, 25)
    found = list(fields.deinterlaced(frames))
    flags = [False] * 3 + [True] * 5 + [False] * 5 + [True] * 5
    assert [interlaced for _, interlaced in found] == flags == [frame.interlaced_frame for frame in frames]
    assert [frame.pts * frame.time_base for frame, _ in found[:13]] == [Fraction(n, 25) for n in range(13)]
    for (after, interlaced), before in zip(found, frames, strict=True):
        assert interlaced or np.array_equal(after.to_ndarray(), before.to_ndarray())
        assert (after.width, after.height) == (before.width, before.height)
    assert combs(np.stack([frame.to_ndarray(format="rgb24") for frame, _ in found[13:]])) < 2


def test_no_sound_and_one_frame(tmp_path):
    path = make_video(tmp_path / "one.mp4", [quadrants()], [0])
    clip = load_video(path)
    assert clip.frames.shape == (1, HEIGHT, WIDTH, 3)
    assert clip.audio is None
    info = probe(path)
    assert (info.frames, info.has_audio, info.codec) == (1, False, "h264")


def test_max_seconds_and_size(tmp_path):
    images, audio = flash_and_click(range(0, 2000, 40), 1000)
    path = make_video(tmp_path / "x.mp4", images, range(0, 2000, 40), audio)
    clip = load_video(path, max_seconds=1.5, size=(32, 16))
    assert clip.frames.shape == (37, 32, 16, 3)
    assert len(clip.audio) == 37 * 640
    assert load_video(path).frames.shape[0] == 50


def test_more_than_memory_holds_is_refused(tmp_path, monkeypatch):
    path = make_video(tmp_path / "x.mp4", [quadrants()] * 50, range(0, 2000, 40))
    memory = psutil.virtual_memory()._replace(available=2 * 30 * HEIGHT * WIDTH * 3)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert "lasts more than 1 s" in refusal(path)
    assert len(load_video(path, max_seconds=1.2).frames) == 30
    assert len(load_video(path, size=(32, 48)).frames) == 50


def test_frames_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    path = make_video(tmp_path / "x.mp4", [quadrants()] * 50, range(0, 2000, 40))
    turned, upright = [], video.Picture.upright
    monkeypatch.setattr(video.Picture, "upright", lambda self: turned.append(1) or upright(self))
    frames = read_frames(path)
    next(frames)
    assert len(turned) == 1
    assert sum(1 for _ in frames) == 49


def test_not_a_video(tmp_path):
    text = tmp_path / "clip.mp4"
    text.write_text("a clip\n" * 100)
    assert "damaged or not a media file" in refusal(text)
    text.write_bytes(b"")
    refusal(text)
    assert "no such file" in refusal(tmp_path / "missing.mp4")
    with av.open(str(tmp_path / "sound.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "no video stream" in refusal(tmp_path / "sound.m4a")


def moving(count, height=HEIGHT, width=WIDTH, seed=0):
    """Smooth noise that drifts."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
    image = np.kron(coarse, np.ones((16, 16, 1)))[:height, :width].astype(np.uint8)
    return np.stack([np.roll(image, 2 * n, axis=1) for n in range(count)])


def hum(seconds):
    """A rising tone: it fits itself at one lag only."""
    t = np.arange(round(seconds * 16000)) / 16000
    return (0.5 * np.sin(2 * np.pi * (200 * t + 300 * t**2 / 2))).astype(np.float32)


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_a_video_that_breaks_off_is_refused(tmp_path, cut):
    path = tmp_path / "x.mp4"
    write_video(path, moving(60), hum(2.4))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    assert "damaged" in refusal(path)


def test_damaged_videos_never_end_in_another_error(tmp_path):
    path = tmp_path / "x.mp4"
    write_video(path, moving(30), hum(1.2))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for attempt in range(40):
        data = bytearray(whole)
        for place in rng.integers(0, len(data) if attempt % 2 else 2000, 8):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            frames = load_video(path, max_seconds=2).frames
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(frames) <= 50


@pytest.mark.parametrize("count", [1, 2, 5, 24, 25, 33, 125])
@pytest.mark.parametrize("excess", [-0.5, 0.0, 0.5])
def test_written_durations_agree(tmp_path, count, excess):
    path = tmp_path / "x.mp4"
    audio = hum(max(0.03, count / 25 + excess))
    write_video(path, moving(count, 32, 32), audio)
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        lengths = [float(stream.duration * stream.time_base) for stream in (video, sound)]
        assert [stream.start_time for stream in (video, sound)] == [0, 0]
        assert (sound.rate, sound.channels, video.frames) == (16000, 1, count)
        assert lengths == pytest.approx([count / 25] * 2, abs=1e-6)
        assert container.duration / 1e6 == pytest.approx(count / 25, abs=1e-6)
    loaded = load_video(path)
    assert (len(loaded.frames), len(loaded.audio)) == (count, count * 640)
    if count >= 5:
        assert len(load_audio(path)) == count * 640


def test_written_and_read_back(tmp_path):
    clip = Video(moving(50), hum(2.0))
    clip.save(tmp_path / "new" / "x.mp4")
    loaded = load_video(tmp_path / "new" / "x.mp4")
    error = (loaded.frames.astype(float) - clip.frames)[:, 4:-4, 4:-4]
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 25  # sharp colour edges at half the colour resolution
    lags = {lag: np.dot(np.roll(clip.audio, lag), loaded.audio) for lag in range(-1100, 1100)}
    assert abs(max(lags, key=lags.get)) <= 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.mp4"]


def test_the_same_clip_is_the_same_file(tmp_path):
    """Shards name the clips they are made of by their bytes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (160, 320, 3), np.uint8)
    frames, sound = [np.roll(noise, 2 * k, 1) for k in range(75)], rng.normal(0, 0.1, 48_000).astype(np.float32)
    for k in range(5):
        write_video(tmp_path / f"{k}.mp4", frames, sound)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_written_form_plays_in_browsers(tmp_path):
    path = tmp_path / "x.mp4"
    write_video(path, np.tile(np.array([255, 0, 0], np.uint8), (5, 64, 64, 1)), hum(0.2))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, frame.colorspace, frame.color_range, frame.color_primaries) == ("yuv420p", 1, 1, 1)
        assert abs(int(frame.to_ndarray()[10, 10]) - 63) <= 2  # luma of red by BT.709; BT.601 has 81


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(b"older")

    def failing():
        yield from moving(10)
        raise RuntimeError("out of frames")

    with pytest.raises(RuntimeError, match="out of frames"):
        write_video(path, failing(), hum(1.0))
    with pytest.raises(InputError, match="Frame 3"):
        write_video(path, [*moving(3), moving(1, 32, 32)[0]])
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path):
    for name, frames, reason in (
        ("x.mp4", np.zeros((2, 63, 64, 3), np.uint8), "even"),
        ("x.mp4", np.zeros((0, 64, 64, 3), np.uint8), "no frames"),
        ("x.mp4", np.zeros((2, 64, 64, 3), np.float32), "float32"),
        ("x.mp4", np.zeros((2, 64, 64, 4), np.uint8), "uint8"),
        ("x.avi", np.zeros((2, 64, 64, 3), np.uint8), ".mp4"),
    ):
        with pytest.raises(InputError, match=reason):
            write_video(tmp_path / name, frames)
    assert not list(tmp_path.iterdir())


def test_real_videos(media, caplog):
    sizes = {"v13": (1080, 1920), "v12": (512, 512), "v03": (700, 700), "v02": (512, 910)}
    paths = sorted((media / "videos").iterdir())
    assert len(paths) == 9
    for path in paths:
        key, info = path.name[:3], probe(path)
        assert (info.width, info.height) == sizes.get(key, (info.width, info.height))
        with caplog.at_level(logging.WARNING):
            clip = load_video(path, max_seconds=1.0, size=(160, 96))
        assert clip.frames.shape == (25, 160, 96, 3)
        assert clip.frames.std() > 10
        assert info.has_audio == (clip.audio is not None) == (key != "v12")
        assert clip.audio is None or len(clip.audio) == 16000
    assert not caplog.records


def test_real_lengths(media):
    path = media / "videos" / "v04_blue_woman_30fps.mp4"  # 199 frames at 30 fps
    assert sum(1 for _ in read_frames(path, size=(32, 32))) == 166


def test_real_variable_frame_rate_by_time_stamp(media):
    """Wherever two source frames are at most 40 ms apart, the slot between them is at most 20 ms from its frame."""
    path = media / "videos" / "v03_suit_man_vfr.mp4"
    timed = [(time, duration, time) for time, duration, _ in video._decoded(path)]
    times = np.array([float(time) for time, _, _ in timed])
    chosen = np.array([float(time) for time in clock.nearest_frames(timed)]) - times[0]
    slots = np.arange(len(chosen)) / 25
    nearest = np.abs(times[None] - times[0] - slots[:, None]).min(1)
    np.testing.assert_allclose(np.abs(chosen - slots), nearest, atol=1e-9)
    left = np.clip(np.searchsorted(times - times[0], slots, side="right") - 1, 0, len(times) - 2)
    dense = np.diff(times)[left] <= 0.0401
    assert dense.sum() > 50
    assert np.abs(chosen - slots)[dense].max() <= 0.0201
    assert abs(len(chosen) / 25 - probe(path).duration) <= 0.021
