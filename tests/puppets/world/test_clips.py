# ruff: noqa: RUF001 (letters of the phonetic alphabet look like others)
"""The drawn world: what is drawn follows speech and prompt, and a seed always gives the same clip."""

import hashlib
import json
import subprocess
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.media import load_video
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.speech import Visemes
from actavatar_jax.puppets.world.actions import find_action
from actavatar_jax.puppets.world.clips import JOINTS, World, make_clip, write_clips
from actavatar_jax.puppets.world.draw import draw, hand_position, mouth_box, mouth_position
from actavatar_jax.puppets.world.identity import COMBINATIONS, FRAMINGS, SKINS, Identity
from actavatar_jax.puppets.world.idle import random_poses, told_poses
from actavatar_jax.puppets.world.pose import Arm, Pose
from actavatar_jax.puppets.world.script import make_script
from actavatar_jax.puppets.world.untold import untold_share
from actavatar_jax.speech import PAUSE, VOICES, Phoneme
from tests.commands import actavatar

SEEDS = range(10)
POSES_OF_THE_HEAD = ("mouth_opening", "brows", "blink", "gaze", "head_tilt", "head_nod", "head_turn", "lean", "shrug")
ANGLES = [k for k, name in enumerate(JOINTS) if not name.endswith(("_x", "_y"))]


@pytest.fixture(scope="module")
def drawn():
    return [make_clip(seed) for seed in SEEDS]


def digest(clip) -> str:
    parts = clip.frames.tobytes(), clip.audio.tobytes(), clip.joints.tobytes(), repr(clip.prompt).encode()
    return hashlib.sha256(b"".join(parts)).hexdigest()


# ---- looks


def test_presenters_vary_over_millions_and_are_told():
    looks = [Identity.from_seed(seed) for seed in range(300)]
    assert COMBINATIONS >= 10**6
    assert len({astuple(look)[:11] for look in looks}) == 300 and looks[7] == Identity.from_seed(7)
    for field in ("hair_colour", "hair_style", "glasses", "clothes", "pattern", "build", "wall", "framing"):
        counts = [sum(getattr(look, field) == value for look in looks) for value in {getattr(x, field) for x in looks}]
        assert min(counts) > 300 / len(counts) / 2
    look = replace(looks[0], clothes_colour="orange", pattern="plain", wall_colour="olive")
    told = {look.describe(np.random.default_rng(k)) for k in range(40)}
    assert len(told) > 10
    for text in told:
        assert f"orange {look.clothes}" in text and " a o" not in text.lower()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_mouth_and_hands_are_large_enough_to_be_measured(framing):
    identity = replace(Identity.from_seed(0), framing=framing, glasses="no", shift=0.0)
    for side, mouth, hand in ((128, 20, 14), (64, 10, 7)):
        shut, wide, rest, moved = draw(
            identity,
            [Pose(mouth_opening=m) for m in (0, 1)] + [Pose(left=Arm(90, 90)), Pose(left=Arm(90, 40))],
            side,
        ).astype(int)
        opened = np.abs(wide - shut).max(-1) > 12
        assert np.ptp(np.argwhere(opened[: int(0.5 * side)])[:, 1]) + 1 >= mouth
        assert np.ptp(np.argwhere(opened)[:, 0]) + 1 >= 0.08 * side
        place = hand_position(identity, Pose(left=Arm(90, 90)), "left") * side
        row = np.abs(rest - moved).max(-1)[round(place.imag)] > 20
        assert row.sum() >= hand


@pytest.mark.parametrize("seed", range(8))
def test_mouth_box_changes_as_the_mouth_opens_and_with_nothing_else_nearby(seed):
    identity = Identity.from_seed(seed)
    openings = np.linspace(0, 1, 9)
    for side in (64, 128):
        rows, columns = mouth_box(identity, side)
        frames = draw(identity, [Pose(mouth_opening=float(opening)) for opening in openings], side)
        change = np.abs(frames.astype(int) - frames[0])[:, rows, columns].mean((1, 2, 3))
        assert np.corrcoef(change, openings)[0, 1] > 0.9 and change[-1] > 25 and change.argmax() >= 6
        middle = mouth_position(identity, Pose()) * side
        assert rows.start <= middle.imag < rows.stop and columns.start <= middle.real < columns.stop


def test_width_of_the_mouth_is_seen():
    identity = replace(Identity.from_seed(1), skin=SKINS[0], hair_style="short", glasses="no")
    widths = []
    for width in (0.0, 0.5, 1.0):
        frame = draw(identity, [Pose(mouth_width=width, mouth_opening=1.0)], 128)[0]
        dark = frame[int(0.38 * 128) : int(0.46 * 128), 40:88].max(-1) < 100
        widths.append(np.ptp(np.argwhere(dark)[:, 1]))
    assert widths[0] + 5 < widths[1] < widths[2] - 5


@pytest.mark.parametrize("field", POSES_OF_THE_HEAD)
def test_every_part_of_the_head_and_body_moves(field):
    identity = replace(Identity.from_seed(2), hair_style="short")
    rest, moved = draw(identity, [Pose(), replace(Pose(), **{field: 1.0})], 64).astype(int)
    assert (np.abs(rest - moved).max(-1) > 20).sum() >= 6


@pytest.mark.parametrize(
    ("pose", "pixels"),
    [
        (Pose(head_nod=1.0), 4),
        (Pose(head_turn=1.0), 4),
        (Pose(head_turn=-1.0), 4),
        (Pose(lean=1.0), 6),
        (Pose(lean=-1.0), 6),
    ],
)
def test_head_movements_can_be_measured_in_pixels_at_64(pose, pixels):
    identity = replace(Identity.from_seed(0), framing="wide")
    assert abs(mouth_position(identity, pose) - mouth_position(identity, Pose())) * 64 >= pixels


# ---- clips


def test_shapes_prompts_and_truth(drawn):
    for clip in drawn:
        assert clip.frames.shape == (77, 64, 64, 3) and clip.frames.dtype == np.uint8
        assert clip.audio.shape == (77 * 640,) and clip.audio.dtype == np.float32 and np.abs(clip.audio).max() <= 1
        assert clip.opening.shape == clip.width.shape == (77,) and clip.joints.shape == (77, len(JOINTS))
        assert np.isfinite(clip.joints).all() and clip.opening.max() > 0.5
        clip.prompt.check(duration=77 / 25)
        assert [find_action(phase.action) for phase in clip.prompt.phases] == [cue.action for cue in clip.cues]
        assert [(phase.start, phase.end) for phase in clip.prompt.phases] == [(c.start, c.end) for c in clip.cues]
        assert clip.brief == StructuredPrompt(clip.prompt.base)
        assert clip.global_prompt.base.startswith(clip.prompt.base) and not clip.global_prompt.phases
        told = [clip.global_prompt.base.find(phase.action[1:]) for phase in clip.prompt.phases]
        assert told == sorted(told) and told[0] > 0


def test_a_seed_gives_the_same_bytes_even_in_another_process():
    here = digest(make_clip(5, World(frames=17)))
    assert here != digest(make_clip(6, World(frames=17)))
    code = (
        "import hashlib; from actavatar_jax.puppets.world.clips import World, make_clip; "
        "make_clip(8, World(frames=5)); c = make_clip(5, World(frames=17)); "
        "parts = c.frames.tobytes(), c.audio.tobytes(), c.joints.tobytes(), repr(c.prompt).encode(); "
        "print(hashlib.sha256(b''.join(parts)).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert here == there


def test_what_is_given_leaves_the_rest_as_it_was():
    world = World(frames=49, idle="random")
    own = make_clip(3, world)
    other = make_clip(3, world, identity=Identity.from_seed(99))
    assert np.array_equal(own.audio, other.audio) and own.cues == other.cues
    np.testing.assert_array_equal(own.joints[:, ANGLES], other.joints[:, ANGLES])
    said = make_clip(3, world, sentence="Papa may map it.", voice="english-us")
    assert said.cues == own.cues and said.identity == own.identity and said.prompt == own.prompt
    np.testing.assert_array_equal(own.joints[:, ANGLES], said.joints[:, ANGLES])
    assert said.sentence == "Papa may map it." and not np.array_equal(said.audio, own.audio)
    prompt = StructuredPrompt.parse("A host. [0.5-1.5s] Nods.")
    told = make_clip(3, world, prompt=prompt)
    assert told.prompt == prompt and [cue.action for cue in told.cues] == ["nod"]
    assert np.array_equal(told.audio, own.audio) and told.identity == own.identity
    assert make_clip(3, world, prompt=StructuredPrompt("A host.")).cues == ()
    german = make_clip(3, world, voice="german")
    assert german.voice == "german" and german.cues == own.cues


def test_a_longer_or_larger_clip_of_a_seed_has_the_same_presenter_and_words(drawn):
    longer = make_clip(2, World(side=128, frames=125))
    assert longer.frames.shape == (125, 128, 128, 3) and len(longer.audio) == 125 * 640
    assert longer.identity == drawn[2].identity and longer.sentence.startswith(drawn[2].sentence[:20])
    assert len(make_clip(2, World(frames=1)).frames) == 1


def test_languages_are_those_of_the_world():
    for language in ("en", "de"):
        clip = make_clip(4, World(frames=13, languages=(language,)))
        assert VOICES[clip.voice].language == language


def test_mouth_follows_speech_in_whole_clips(drawn):
    followed = []
    for clip in drawn:
        rows, columns = mouth_box(clip.identity, 64)
        busy = np.zeros(77, bool)
        for cue in clip.cues:
            busy |= (np.arange(77) / 25 > cue.start) & (np.arange(77) / 25 < cue.end)
        box = slice(None), rows, columns
        change = np.abs(clip.frames[box].astype(int) - draw(clip.identity, [Pose()])[box]).mean((1, 2, 3))[~busy]
        if len(change) > 12 and np.ptp(clip.opening[~busy]) > 0.5:
            followed.append(np.corrcoef(change, clip.opening[~busy])[0, 1])
    assert len(followed) >= 5 and np.median(followed) > 0.85 and min(followed) > 0.7


def silence(frames: int) -> Visemes:
    return Visemes(np.zeros(frames, np.float32), np.full(frames, 0.5, np.float32))


def test_random_idle_presenters_blink_look_and_breathe():
    frames, prompt = 125, StructuredPrompt("A host.")
    clip = make_clip(1, World(frames=frames, idle="random"), prompt=prompt)
    moved = {name: np.ptp(clip.joints[:, k]) for k, name in enumerate(JOINTS)}
    assert 0 < moved["head_tilt"] < 0.25 and 0 < moved["shrug"] < 0.1 and 0 < moved["left_shoulder"] < 5
    assert moved["mouth_x"] < 0.05 and moved["left_hand_x"] < 0.05
    poses = random_poses(np.random.default_rng(0), silence(1000))
    closed = np.array([pose.blink > 0.75 for pose in poses])
    assert 12 < (np.diff(closed.astype(int)) == 1).sum() < 35 and closed.mean() < 0.1
    assert len({pose.gaze for pose in poses}) == 3 and poses[0] != poses[1]


def test_told_idle_motion_follows_stress_pauses_and_looks():
    """A stressed vowel at 0.8 s, a stressed open one until 1.4 s, a pause from 1.6 to 2.2 s."""
    phonemes = (
        *(Phoneme(PAUSE, 0.0, 0.2), Phoneme("m", 0.2, 0.76), Phoneme("ˈiː", 0.76, 0.84), Phoneme("t", 0.84, 1.2)),
        *(Phoneme("ˈæ", 1.2, 1.4), Phoneme("n", 1.4, 1.6), Phoneme(PAUSE, 1.6, 2.2), Phoneme("ə", 2.2, 3.0)),
    )
    identity = replace(Identity.from_seed(0), hair_style="short", build="average")
    poses = told_poses(identity, phonemes, silence(75))

    def curve(name: str) -> np.ndarray:
        return np.array([getattr(pose, name) for pose in poses])

    nods, eyes, gaze = curve("head_nod"), curve("blink"), curve("gaze")
    peaks = [k for k in range(1, 74) if nods[k] > 0.1 and nods[k] >= nods[k - 1] and nods[k] > nods[k + 1]]
    np.testing.assert_allclose(np.array(peaks) / 25, [0.8, 1.3], atol=0.04)
    blinks = np.flatnonzero((eyes[1:-1] > 0.75) & (eyes[1:-1] >= eyes[:-2]) & (eyes[1:-1] > eyes[2:])) + 1
    np.testing.assert_allclose(blinks / 25, [1.4, 1.6], atol=0.041)  # after the open vowel, as the pause begins
    assert set(gaze[40:55]) == {0.6} and not gaze[5:40].any() and not gaze[55:].any()
    assert curve("shrug")[45] > curve("shrug")[30]  # breathes in
    other = told_poses(replace(identity, hair_style="long", build="slim"), phonemes, silence(75))
    assert other[45].gaze == -0.6 and other[20].head_nod == pytest.approx(1.25 * nods[20])


def test_told_sway_follows_the_shape_of_the_lips_slowly():
    spread = Visemes(np.zeros(75, np.float32), np.r_[np.zeros(37), np.ones(38)].astype(np.float32))
    leans = np.array([pose.lean for pose in told_poses(Identity.from_seed(0), (), spread)])
    assert leans[0] == pytest.approx(-leans[-1], rel=0.1) and abs(leans[0]) > 0.1
    assert np.abs(np.diff(leans)).max() < 0.03


@pytest.mark.slow
def test_all_of_a_told_world_follows_from_its_conditions_and_a_third_of_a_random_one_does_not():
    told, random = (untold_share(World(frames=77, idle=idle), range(6)) for idle in ("told", "random"))
    assert told == 0 and 0.2 < random < 0.45
    with pytest.raises(InputError, match="at least 2"):
        untold_share(World(), [0], idles=1)


def test_a_command_prints_the_share_that_is_not_told(capsys):
    assert actavatar("evaluate", "untold", "--items", "1") == 0
    assert capsys.readouterr().out == "0.00\n"
    assert actavatar("evaluate", "untold", "--idle", "calm") == 2
    assert "idle told or random" in capsys.readouterr().err


def test_the_jaw_falls_with_the_lower_lip():
    identity = replace(Identity.from_seed(1), skin=SKINS[0], clothes_colour="black", hair_style="short")
    shut, wide = draw(identity, [Pose(), Pose(mouth_opening=1.0)], 128).astype(int)
    chin = mouth_position(identity, Pose()) * 128 + 0.13j * 128 * identity.scale
    row, column = round(chin.imag), round(chin.real)
    skin = np.array(identity.colours()["skin"])
    assert np.abs(wide[row, column] - skin).max() < 5 < np.abs(shut[row, column] - skin).max()


@pytest.mark.parametrize(("grid", "frames"), [(0.5, 77), (0.1, 77), (0.5, 49), (0.5, 125), (0.1, 21)])
def test_scripts_keep_the_laws_of_prompts(grid, frames):
    scripts = [make_script(np.random.default_rng([seed, 3]), frames, grid, 4) for seed in range(400)]
    for script in scripts:
        assert 1 <= len(script) <= 4 and len({cue.action for cue in script}) == len(script)
        times = [time for cue in script for time in (cue.start, cue.end)]
        assert times == sorted(times) and times[0] >= 0 and times[-1] <= (frames + 1) / 25
        assert all(abs(time / grid - round(time / grid)) < 1e-4 for time in times)
        assert all(cue.end - cue.start > 0.4999 for cue in script)
    single = [script[0] for script in scripts if len(script) == 1]
    if frames >= 49:
        assert len(single) >= 0.4 * len(scripts) and {len(script) for script in scripts} == {1, 2, 3, 4}
        assert all(0.999 < cue.end - cue.start < 1.501 for cue in single)
        assert len({cue.start for cue in single}) >= (2 if grid == 0.5 else 9)
    if frames >= 77:
        assert all(c.end - c.start > 0.999 for s in scripts if len(s) == 2 for c in s)
    assert not make_script(np.random.default_rng(0), 5, grid, 4)
    assert all(len(make_script(np.random.default_rng(s), 77, grid, 1)) == 1 for s in range(20))


# ---- wrong input


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"prompt": StructuredPrompt.parse("A host. [0-1s] Juggles three balls.")}, "Juggles three balls"),
        ({"prompt": StructuredPrompt.parse("A host. [0-1s] Raises a hand.")}, "nearest.*raise|Lifts|Raises"),
        ({"prompt": StructuredPrompt.parse("A host. [2-4s] Nods.")}, "past the end"),
        ({"voice": "klingon"}, "klingon"),
        ({"sentence": ""}, "empty"),
        ({"sentence": "word " * 500}, "500 words"),
        ({"sentence": "this takes a lot longer to say than two seconds, so it is refused"}, "first . words fit"),
    ],
)
def test_wrong_input_is_refused_in_words(given, said):
    with pytest.raises(InputError, match=said):
        make_clip(0, World(frames=49), **given)


@pytest.mark.parametrize(
    "wrong", [{"side": 4}, {"frames": 0}, {"grid": 0.0}, {"max_phases": 5}, {"languages": ("xx",)}, {"idle": "still"}]
)
def test_impossible_worlds_are_refused(wrong):
    with pytest.raises(InputError, match="no world of puppets"):
        World(**wrong)


# ---- files


def test_write_clips(tmp_path):
    world = World(frames=17)
    (path,) = write_clips(tmp_path / "new", [4], world)
    clip, video = make_clip(4, world), load_video(path)
    assert path.name == "puppet_000004.mp4" and video.frames.shape == clip.frames.shape
    assert np.abs(video.frames.astype(int) - clip.frames).mean() < 8
    assert abs(len(video.audio) - len(clip.audio)) < 640
    assert StructuredPrompt.load(path.with_suffix(".json")) == clip.prompt
    truth = json.loads(path.with_suffix(".truth.json").read_text(encoding="utf-8"))
    assert truth["sentence"] == clip.sentence and truth["voice"] == clip.voice
    np.testing.assert_allclose(truth["opening"], clip.opening, atol=1e-3)
    np.testing.assert_allclose(truth["joints"], clip.joints, atol=1e-3)
    assert truth["joint_names"] == list(JOINTS) and truth["cues"][0]["action"] == clip.cues[0].action
    assert [p["symbol"] for p in truth["phonemes"]] == [p.symbol for p in clip.phonemes]
    assert sorted(p.suffix for p in path.parent.iterdir()) == [".json", ".json", ".mp4"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        write_clips(tmp_path / "file" / "videos", [0], World(frames=5))
