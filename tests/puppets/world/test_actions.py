"""Actions: each is seen from pixels and told apart from all others, and words lead to the one that they name."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world.actions import ACTIONS, find_action, nearest_action
from actavatar_jax.puppets.world.clips import JOINTS, World, make_clip
from actavatar_jax.puppets.world.draw import draw, hand_position, mouth_position
from actavatar_jax.puppets.world.identity import BUILDS, FRAMINGS, Identity
from actavatar_jax.puppets.world.pose import HAND, Pose
from actavatar_jax.puppets.world.script import Cue

PLANNED = [
    "raise_left", "raise_right", "wave_left", "wave_right", "point_up", "point_down", "point_left", "point_right",
    "open_arms", "clap", "hand_on_chest", "nod", "shake_head", "tilt_head", "lean_left", "lean_right",
    "count_fingers", "shrug",
]  # fmt: skip
WINDOW = 0.5  # the shortest


def in_window(name: str, length: float = WINDOW) -> list[Pose]:
    """The poses of every frame of a window, eased as in a clip."""
    cue = Cue(0.0, length, name)
    return [ACTIONS[name].apply(Pose(), t, length, cue.strength(t)) for t in np.arange(0, length, 0.04)]


# ---- pictures


def test_the_planned_actions_come_first_and_in_order():
    assert list(ACTIONS)[: len(PLANNED)] == PLANNED and len(ACTIONS) == 20


@pytest.fixture(scope="module")
def changes():
    """[identities, actions, values]: every second frame of half a second, as change from rest at 16 x 16 pixels."""
    result = []
    for seed in range(9):
        identity = Identity.from_seed(seed)
        poses = [pose for name in ACTIONS for pose in in_window(name)[::2]]
        rest, *frames = draw(identity, [Pose(), *poses]).astype(np.float32)
        moved = np.abs(np.stack(frames) - rest).mean(-1)
        small = [np.asarray(Image.fromarray(picture).resize((16, 16), Image.Resampling.BOX)) for picture in moved]
        result.append(np.stack(small).reshape(len(ACTIONS), -1))
    return np.stack(result)


def test_every_action_is_recognised_in_half_a_second_on_presenters_never_seen(changes):
    names = list(ACTIONS)
    unit = changes / np.linalg.norm(changes, axis=-1, keepdims=True)
    templates = unit[:6].mean(0)
    found = np.argmax(unit[6:] @ (templates / np.linalg.norm(templates, axis=-1, keepdims=True)).T, axis=-1)
    wrong = [(names[a], names[b]) for row in found for a, b in enumerate(row) if a != b]
    assert not wrong


def test_every_action_changes_enough_pixels(changes):
    assert changes.max(-1).min() > 20


@pytest.mark.parametrize("name", ACTIONS)
def test_hands_never_cover_the_mouth_and_are_in_the_picture_when_held(name):
    for build, framing in zip(BUILDS, FRAMINGS, strict=True):
        identity = replace(Identity.from_seed(0), build=build, framing=framing, shift=0.0)
        poses = [
            ACTIONS[name].apply(Pose(mouth_opening=1.0, mouth_width=1.0), t, 1.0, strength)
            for t in np.arange(0.02, 0.52, 0.12)
            for strength in (0.25, 0.5, 0.75, 1.0)
        ]
        resting = [replace(pose, left=Pose().left, right=Pose().right) for pose in poses]
        for pose, one, other in zip(poses, draw(identity, poses), draw(identity, resting), strict=True):
            mouth = (mouth_position(identity, pose) + 0.04j * identity.scale) * 64
            rows, columns = round(mouth.imag), round(mouth.real)
            box = slice(rows - 3, rows + 4), slice(columns - 7, columns + 7)
            assert np.array_equal(one[box], other[box])
        for pose, side in itertools.product(poses[3::4], ("left", "right")):
            place = hand_position(identity, pose, side)
            assert HAND / 2 < place.real < 1 - HAND / 2 and HAND < place.imag < 1.0


@pytest.mark.parametrize("kind", ["raise", "wave", "point", "lean"])
def test_left_is_the_presenters_own_left(kind):
    """What `left` moves is on the viewer's right, and `right` is its mirror image."""
    identity = replace(Identity.from_seed(0), shift=0.0, wall="plain", hair_style="short", clothes="sweater")
    rest = draw(identity, [Pose()])[0].astype(int)
    left, right = (draw(identity, in_window(f"{kind}_{side}"))[6].astype(int) for side in ("left", "right"))
    if kind == "lean":
        assert mouth_position(identity, in_window("lean_left")[6]).real > 0.55
    else:
        moved = np.abs(left - rest).max(-1)
        assert moved[:, 44:].sum() > 5 * moved[:, :20].sum()
    if kind != "wave":  # both hands swing the same way in time
        assert np.abs(left - right[:, ::-1]).mean() < 3


def test_an_action_leaves_the_mouth_alone_and_at_no_strength_everything():
    pose = Pose(mouth_opening=0.7, mouth_width=0.2, lean=0.05, gaze=0.3)
    for action in ACTIONS.values():
        assert action.apply(pose, 0.3, 1.0, 0.0) == pose
        done = action.apply(pose, 0.3, 1.0, 1.0)
        assert (done.mouth_opening, done.mouth_width) == (0.7, 0.2) and done != pose


def test_counting_goes_from_one_to_five():
    for length in (0.5, 1.5):
        fingers = [
            ACTIONS["count_fingers"].apply(Pose(), t, length, 1.0).left.fingers for t in np.arange(0, length, 0.02)
        ]
        assert fingers == sorted(fingers) and set(fingers) == {1, 2, 3, 4, 5}


def test_cues_ease_within_their_window():
    cue = Cue(1.0, 2.0, "nod")
    strengths = [cue.strength(t) for t in np.arange(0, 3, 0.02)]
    assert all(s == 0 for s in strengths[:51]) and all(s == 0 for s in strengths[101:])
    assert cue.strength(1.2) == pytest.approx(1) == cue.strength(1.8) and cue.strength(1.1) == pytest.approx(0.5)
    assert max(Cue(0.0, 0.3, "nod").strength(t) for t in np.arange(0, 0.3, 0.01)) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(("idle", "sway"), [("random", 0.15), ("told", 0.4)])
def test_clips_act_inside_windows_and_rest_outside(idle, sway):
    shoulders = [JOINTS.index("left_shoulder"), JOINTS.index("right_shoulder")]
    head = [JOINTS.index(name) for name in ("head_tilt", "head_nod", "head_turn", "lean", "shrug")]
    times = np.arange(77) / 25
    for seed in range(12):
        clip = make_clip(seed, World(side=16, idle=idle))
        busy = np.zeros(77, bool)
        for cue in clip.cues:
            inside = (times > cue.start) & (times < cue.end)
            busy |= inside
            calm = clip.joints[np.argmin(inside)]
            held = (times >= cue.start + 0.2) & (times <= cue.end - 0.2)
            moved = np.abs(clip.joints[held] - calm)
            assert moved[:, shoulders].max() > 5 or moved[:, head].max() > 0.3
        assert np.all(np.abs(clip.joints[~busy][:, shoulders] - 14) < 2.5)
        assert np.all(np.abs(clip.joints[~busy][:, head]) < sway)


def test_an_action_begins_at_the_start_of_its_window():
    prompt = StructuredPrompt.parse("A host. [1.5-2.5s] Counts on the fingers.")
    fingers = make_clip(0, World(side=16), prompt=prompt).joints[:, JOINTS.index("left_fingers")]
    assert fingers[:38].max() == 0 and fingers[42] == pytest.approx(1.0, abs=0.2) and fingers[58] > 4


# ---- words


def test_wordings_are_many_and_name_their_own_action():
    every = [wording for action in ACTIONS.values() for wording in action.wordings]
    assert all(len(action.wordings) >= 6 for action in ACTIONS.values()) and len(set(every)) == len(every)
    for name, action in ACTIONS.items():
        assert [find_action(wording) for wording in action.wordings] == [name] * len(action.wordings)
        assert find_action(action.wordings[1].upper().rstrip(".")) == name
        assert nearest_action(action.wordings[0]) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("She raises her left hand", "raise_left"),
        ("waving happily with his right hand", "wave_right"),
        ("He slowly points up", "point_up"),
        ("pointing at the floor", "point_down"),
        ("The woman points left, smiling", "point_left"),
        ("spreads her arms", "open_arms"),
        ("clapping loudly", "clap"),
        ("puts his hand on his heart", "hand_on_chest"),
        ("is nodding", "nod"),
        ("shakes her head firmly", "shake_head"),
        ("tilting his head a little", "tilt_head"),
        ("leaning far to the right", "lean_right"),
        ("counts with her fingers", "count_fingers"),
        ("shrugs, as if puzzled", "shrug"),
        ("stands there, both hands on her hips", "hands_on_hips"),
        ("lifts both of the arms", "raise_both"),
    ],
)
def test_clear_words_are_understood(text, name):
    assert find_action(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "", "Juggles.", "Raises a hand.", "Waves.", "Nods and claps.", "Does not nod.", "Stops waving the left hand.",
        "Points.", "Raises the left arm and the right arm.", "挥手", "😀", "Counts the money.", "Turns left.",
        "Never shrugs.", "Doesn't clap.", "Doesn\u2019t clap.",
    ],
)  # fmt: skip
def test_unknown_unclear_and_negated_words_name_nothing(text):
    assert find_action(text) is None
    assert nearest_action(text) in ACTIONS


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Raises a hand.", {"raise_left", "raise_right", "raise_both"}),
        ("Moves the head from side to side.", {"shake_head"}),
        ("Applause!", {"clap"}),
        ("Waves.", {"wave_left", "wave_right"}),
    ],
)
def test_nearest_action_is_sensible(text, names):
    assert nearest_action(text) in names
