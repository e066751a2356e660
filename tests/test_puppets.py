"""The drawn world: what is drawn follows the voice and the prompt, and a seed always gives the same clip."""

import hashlib
import json

import numpy as np
import pytest

from actavatar_jax.media import load_video
from actavatar_jax.prompt import StructuredPrompt
from data_pipelines.puppets import clips
from data_pipelines.puppets.clips import EASE, GESTURES, make_clip, write_clips
from data_pipelines.puppets.draw import (
    HAND,
    HEAD,
    MOUTH_WIDTH,
    SWAY,
    Arm,
    Identity,
    Pose,
    draw,
    hand_position,
    mouth_box,
)
from data_pipelines.puppets.voice import make_voice, mouth_opening

RAISED = Arm(140.0, -188.0)
SEEDS = range(12)


@pytest.fixture(scope="module")
def drawn():
    return [make_clip(seed) for seed in SEEDS]


def test_shapes_and_a_prompt_that_passes_its_own_check(drawn):
    for clip in drawn:
        assert clip.frames.shape == (49, 64, 64, 3) and clip.frames.dtype == np.uint8
        assert clip.audio.shape == (49 * 640,) and clip.audio.dtype == np.float32
        assert np.abs(clip.audio).max() <= 1
        assert clip.mouth_opening.shape == (49,) and clip.arm_angle.shape == (49, 2)
        assert 1 <= len(clip.prompt.phases) <= 2
        clip.prompt.check(duration=49 / 25)
        assert all(time % 0.5 == 0 for phase in clip.prompt.phases for time in (phase.start, phase.end))
    assert {len(clip.prompt.phases) for clip in drawn} == {1, 2}


def test_a_seed_gives_the_same_bytes_and_another_seed_does_not():
    def digest(clip):
        parts = (clip.frames.tobytes(), clip.audio.tobytes(), repr(clip.prompt).encode(), clip.arm_angle.tobytes())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    assert digest(make_clip(5, 17)) == digest(make_clip(5, 17)) != digest(make_clip(6, 17))


@pytest.mark.parametrize("seed", range(10))
def test_mouth_box_darkens_as_the_mouth_opens(seed):
    rows, columns = mouth_box(64)
    openings = np.linspace(0, 1, 9)
    frames = draw(Identity.from_seed(seed), [Pose(mouth=float(opening)) for opening in openings])
    assert np.all(np.diff(frames[:, rows, columns].mean((1, 2, 3))) < 0)


@pytest.mark.parametrize("seed", range(5))
def test_open_mouth_is_wide_and_inside_its_box(seed):
    rows, columns = mouth_box(256)
    poses = [Pose(mouth=mouth, sway=sway) for mouth in (0.0, 1.0) for sway in (-1.0, 0.0, 1.0)]
    frames = draw(Identity.from_seed(seed), poses, 256).astype(int).reshape(2, 3, 256, 256, 3)
    dark = np.abs(frames[1] - (52, 14, 22)).max(-1) < 8  # the interior
    moved = np.abs(frames[1] - frames[0]).max(-1) > 10
    moved[:, int(0.44 * 256) :] = False  # below, the jaw moves too
    for picture in (*dark, *moved):
        where = np.argwhere(picture)
        assert rows.start <= where[:, 0].min() and where[:, 0].max() < rows.stop
        assert columns.start <= where[:, 1].min() and where[:, 1].max() < columns.stop
        assert np.ptp(where[:, 1]) + 1 >= 0.14 * 256
    assert np.ptp(np.argwhere(moved[1])[:, 1]) + 1 >= 0.16 * 256


def test_mouth_follows_the_voice_in_whole_clips(drawn):
    rows, columns = mouth_box(64)
    for clip in drawn:
        light = clip.frames[:, rows, columns].mean((1, 2, 3))
        assert np.corrcoef(light, clip.mouth_opening)[0, 1] < -0.95


def test_voice_opening_is_the_loudness_of_the_frame_itself():
    voice = make_voice(3, 100)
    loud = np.abs(voice.samples.reshape(100, 640)).mean(1)
    assert np.corrcoef(loud, voice.opening)[0, 1] > 0.9
    assert (voice.opening < 0.05).sum() > 10 and (voice.opening > 0.5).sum() > 10  # it pauses and it speaks
    burst = np.zeros(20 * 640, np.float32)
    burst[7 * 640 : 8 * 640] = 0.1
    opening = mouth_opening(burst)
    assert opening.argmax() == 7 and opening[6] == pytest.approx(opening[8], rel=0.02) and opening[5] == 0


def test_voice_has_pitch_and_formants():
    voice = make_voice(1, 100)
    spectrum = np.abs(np.fft.rfft(voice.samples)) ** 2
    frequency = np.fft.rfftfreq(len(voice.samples), 1 / 16000)
    share = spectrum[(frequency > 80) & (frequency < 3500)].sum() / spectrum.sum()
    assert share > 0.9
    loudest = voice.opening.argmax() * 640
    segment = voice.samples[loudest - 320 : loudest + 960]
    correlation = np.correlate(segment, segment, "full")[len(segment) - 1 :]
    lags = slice(16000 // 300, 16000 // 70)
    assert correlation[lags].max() > 0.4 * correlation[0]  # voiced: it repeats at its pitch


def test_arms_gesture_inside_their_windows_and_rest_outside(drawn):
    times = np.arange(49) / 25
    sides = {"left": 0, "right": 1}
    for clip in drawn:
        busy = np.zeros((49, 2), bool)
        for phase in clip.prompt.phases:
            gesture = next(g for g in GESTURES.values() if phase.action in g.wordings)
            inside = (times > phase.start) & (times < phase.end)
            held = (times >= phase.start + EASE) & (times <= phase.end - EASE)
            for side, column in sides.items():
                if target := getattr(gesture, side):
                    busy[:, column] |= inside
                    np.testing.assert_allclose(clip.arm_angle[held, column], target.shoulder, atol=0.5)
        assert np.all(clip.arm_angle[~busy] < 15)


def test_a_raised_arm_is_seen_beside_the_head():
    identity = Identity.from_seed(0)
    rest, left, right = draw(identity, [Pose(), Pose(left=RAISED), Pose(right=RAISED)]).astype(int)
    skin = np.array(identity.skin)
    for frame, outward in ((left, 1), (right, -1)):
        x, y = (round(64 * position) for position in hand_position(RAISED, outward))
        assert np.abs(frame[y - 1 : y + 1, x - 1 : x + 1] - skin).max() < 12
        assert np.abs(rest[y - 1 : y + 1, x - 1 : x + 1] - skin).max() > 30
        assert (x > 32) == (outward == 1)  # the presenter's left is on the viewer's right


def test_hands_stay_off_the_mouth_and_held_gestures_in_the_picture():
    rows, _ = mouth_box(1000)
    for gesture in GESTURES.values():
        for strength in np.linspace(0, 1, 21):
            for swing in (-gesture.swing, gesture.swing):
                for target, outward in ((gesture.left, 1), (gesture.right, -1)):
                    if not target:
                        continue
                    x, y = hand_position(
                        clips._toward(Arm(), Arm(target.shoulder, target.forearm + swing), float(strength)), outward
                    )
                    beside = abs(x - HEAD[0]) - HAND > MOUTH_WIDTH / 2 + SWAY
                    assert beside or y - HAND > rows.stop / 1000
                    if strength == 1:
                        assert HAND - 0.015 <= x <= 1.015 - HAND and HAND <= y <= 1 - HAND


@pytest.mark.parametrize(("frames", "side"), [(1, 64), (17, 96), (125, 128)])
def test_other_lengths_and_sides(frames, side):
    clip = make_clip(9, frames, side)
    assert clip.frames.shape == (frames, side, side, 3) and len(clip.audio) == frames * 640
    assert len(clip.prompt.phases) >= (frames > 1)
    clip.prompt.check(duration=frames / 25)


def test_all_gestures_and_many_presenters_occur():
    scripts = [clips._script(np.random.default_rng(seed), 49) for seed in range(60)]
    named = {cue.gesture.wordings for script in scripts for cue in script}
    assert len(named) == len(GESTURES) >= 6
    looks = [Identity.from_seed(seed) for seed in range(60)]
    assert len(set(looks)) == 60 and len({look.shirt_name for look in looks}) == 5


def test_write_clips(tmp_path):
    (path,) = write_clips(tmp_path / "new", [4], frames=17)
    clip, video = make_clip(4, 17), load_video(path)
    assert video.frames.shape == clip.frames.shape
    assert np.abs(video.frames.astype(int) - clip.frames).mean() < 8
    assert abs(len(video.audio) - len(clip.audio)) < 640
    assert StructuredPrompt.load(path.with_suffix(".json")) == clip.prompt
    assert json.loads(path.with_suffix(".json").read_text())["base"] == clip.prompt.base
    assert sorted(p.name for p in path.parent.iterdir()) == [path.with_suffix(s).name for s in (".json", ".mp4")]
