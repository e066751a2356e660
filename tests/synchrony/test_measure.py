"""One video file to scores or one reason: windows, places in time, and what is counted."""

import av
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import NotScored, score_synchrony, summarise_synchrony
from actavatar_jax.media import write_video
from actavatar_jax.synchrony import measure, score_sparsely

pytest.importorskip("cv2")
BOX = np.array([[40.0, 10, 120, 120]])
NOBODY = np.zeros((0, 4))


class Spy:
    """A network that keeps what it is given; the first pixel's red and the energy of the first vector are features."""

    def see(self, faces, every=1):
        self.faces = np.stack(list(faces))
        return self.faces[:-4:every, 0, 0, :1].astype(np.float32)

    def hear(self, cepstra):
        self.cepstra = cepstra
        return cepstra[:, 0, :1].astype(np.float32)


def film(path, frames=70, loudness=1.0, fps=25):
    """Every frame is a little brighter than the one before, and the sound louder. loudness: None, no sound."""
    pictures = [np.full((160, 208, 3), 20 + 2 * i, np.uint8) for i in range(frames)]
    count = frames * 16000 // fps
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, count) * np.linspace(0.1, 1, count)
    write_video(path, pictures, None if loudness is None else (noise * loudness).astype(np.float32), fps)
    return path


def finder(boxes):
    """Boxes of frame 0, 1, ..., in the order in which frames are shown."""
    frames = iter(boxes)
    return lambda frame: next(frames)


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return film(tmp_path_factory.mktemp("film") / "talk.mp4")


def test_the_windows_of_a_track_are_seen_and_heard_at_the_same_time(talk):
    spy = Spy()
    found = score_synchrony(talk, spy, finder([NOBODY] * 4 + [BOX] * 60 + [NOBODY] * 6))
    assert (found.frames, found.detections, found.heard, found.scores.windows) == (70, 60, 60, 55)
    assert found.coverage == pytest.approx(60 / 70)
    assert spy.faces.shape == (59, 224, 224, 3)
    assert spy.faces[:, 100, 100, 0] == pytest.approx(20 + 2 * np.arange(4, 63), abs=2)
    assert spy.cepstra.shape == (55, 13, 20)
    samples = measure.decode_audio(talk)[4 * 640 : 64 * 640]
    vectors = measure.mfcc(samples)
    assert len(vectors) == 4 * 60 - 1
    np.testing.assert_array_equal(spy.cepstra[0], vectors[:20].T)
    np.testing.assert_array_equal(spy.cepstra[54], vectors[216:236].T)


def test_sparsely_every_fifth_window_is_compared_with_all_of_the_sound(talk):
    whole, sparse = Spy(), Spy()
    exact = score_synchrony(talk, whole, lambda frame: BOX)
    found = score_sparsely(talk, sparse, lambda: [BOX] * 14, every=5)
    assert (found.frames, found.detections, found.heard, found.scores.windows) == (66, 66, 66, 13)
    np.testing.assert_array_equal(sparse.faces, whole.faces[:65])
    np.testing.assert_array_equal(sparse.cepstra[:40], whole.cepstra[:40])
    assert found.scores.distance == pytest.approx(exact.scores.distance, rel=0.1)
    assert score_sparsely(talk, sparse, lambda: [BOX] * 11, every=5).heard == 51
    for boxes, why in (([BOX] * 10, "too short"), ([NOBODY] * 14, "no face")):
        assert score_sparsely(talk, sparse, lambda boxes=boxes: boxes, every=5).reason == why


def test_films_of_another_rate_are_brought_to_25_frames(tmp_path):
    path = film(tmp_path / "film.mp4", frames=75, fps=16)
    found = score_synchrony(path, Spy(), lambda frame: BOX)
    assert found.frames == found.detections == 117 and found.scores.windows == 112


def reason(path, boxes, **options):
    found = score_synchrony(path, Spy(), finder(boxes), **options)
    assert isinstance(found, NotScored) and found.detail
    return found.reason


def test_every_reason_is_told_and_none_fails(talk, tmp_path):
    assert reason(talk, [NOBODY] * 70) == "no face"
    assert reason(talk, [BOX] * 50 + [NOBODY] * 20) == "too short"
    assert reason(talk, [BOX] * 25 + [NOBODY] * 5 + [BOX] * 25 + [NOBODY] * 15) == "too short"  # detections count
    assert reason(talk, [BOX] * 70, cuts=[35]) == "too short"
    assert reason(talk, [BOX] * 70, min_track=70) == "too short"
    assert reason(talk, [BOX / 2] * 70) == "small face"
    assert reason(film(tmp_path / "mute.mp4", loudness=None), [BOX] * 70) == "no sound"
    assert reason(film(tmp_path / "still.mp4", loudness=0), [BOX] * 70) == "silent"


@pytest.mark.parametrize(("seconds", "windows"), [(2.4, 55), (2.079, 46), (2.039, None)])
def test_sound_that_ends_early_leaves_fewer_windows_or_too_few(talk, seconds, windows, monkeypatch):
    samples = measure.decode_audio(talk)[: round(seconds * 16000)]
    monkeypatch.setattr(measure, "decode_audio", lambda path, origin: samples)
    found = score_synchrony(talk, Spy(), lambda frame: BOX)
    if windows is None:
        assert isinstance(found, NotScored) and found.reason == "too short"
    else:
        assert found.scores.windows == windows and found.detections == 70


def test_sound_before_the_first_picture_is_left_out(talk, tmp_path):
    """Pictures that are shown 0.4 s later than they were."""
    with av.open(str(talk)) as whole, av.open(str(tmp_path / "late.mkv"), "w") as late:
        streams = {s.index: late.add_stream_from_template(s) for s in (*whole.streams.video, *whole.streams.audio)}
        for packet in whole.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                packet.pts += round(0.4 / packet.time_base)
                packet.dts += round(0.4 / packet.time_base)
            packet.stream = streams[packet.stream.index]
            late.mux(packet)
    spy = Spy()
    found = score_synchrony(tmp_path / "late.mkv", spy, lambda frame: BOX)
    assert found.frames == 70 and found.heard == pytest.approx(60, abs=2)
    np.testing.assert_allclose(spy.cepstra[9, 0], measure.mfcc(measure.decode_audio(talk)[6400:])[36:56, 0], atol=0.05)


def test_a_track_is_longer_than_what_boxes_are_smoothed_over(talk):
    with pytest.raises(InputError, match=r"The minimum track is 12; accepted is a whole number from 13 to"):
        score_synchrony(talk, Spy(), lambda frame: BOX, min_track=12)


def test_of_two_faces_the_one_that_is_seen_longer_is_scored_if_it_is_large_enough(talk):
    others = np.array([[160.0, 10, 110, 110]]), np.array([[160.0, 10, 80, 80]])
    assert score_synchrony(talk, Spy(), finder([BOX] * 60 + [others[0]] * 10), min_track=13).detections == 60
    small = [np.concatenate([BOX, others[1]])] * 60 + [others[1]] * 10
    assert score_synchrony(talk, Spy(), finder(small)).detections == 60
    assert score_synchrony(talk, Spy(), finder(small), min_face=0).detections == 70


def test_a_summary_counts_all_videos_and_says_why_some_are_left_out(talk):
    spy = Spy()
    results = [
        score_synchrony(talk, spy, lambda frame: BOX),
        score_synchrony(talk, spy, lambda frame: NOBODY),
        score_synchrony(talk, spy, finder([BOX] * 50 + [NOBODY] * 20)),
    ]
    summary = summarise_synchrony(results)
    assert summary.coverage == {50: pytest.approx(1 / 3), 100: 0} and summary.videos == 3
    assert summary.reasons == {"no face": 1, "too short": 1}
    assert summary.confidence == results[0].scores.confidence and summary.distance == results[0].scores.distance
    assert summary.line() == (
        f"Sync-C {summary.confidence:.3f}, Sync-D {summary.distance:.3f} | 3 videos, scored 33% at a minimum track of "
        "50, 0% at 100: 1 no face, 1 too short"
    )
    assert summarise_synchrony(results[1:]).line().startswith("Sync-C and Sync-D not available | 2 videos, scored 0%")
