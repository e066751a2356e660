"""Masks of hands, mouth and what stands still, against what is drawn there; and the PSNR over them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from actavatar_jax.echomimic.tasks import region_of_boxes
from actavatar_jax.errors import InputError
from actavatar_jax.prompt import StructuredPrompt
from actavatar_jax.puppets.world import draw as drawing
from actavatar_jax.puppets.world.clips import ACTIONS, JOINTS, World, make_clip
from actavatar_jax.puppets.world.identity import FRAMINGS, Identity
from actavatar_jax.puppets.world.pose import Arm, Pose, joints
from actavatar_jax.puppets.world.regions import psnr_of, regions, talking_boxes

SIDE = 64
IDLE = make_clip(3, World(side=SIDE, frames=5), prompt=StructuredPrompt("A host."))


def clip_of(poses, framing="medium", frames=None):
    """A clip in which a presenter without glasses takes these poses."""
    identity = replace(Identity.from_seed(4), framing=framing, glasses="no", hair_style="short", wall="plain")
    frames = drawing.draw(identity, poses, SIDE) if frames is None else frames
    joint, mouth = np.stack([joints(identity, pose) for pose in poses]), np.zeros(len(poses))
    return replace(IDLE, frames=frames, joints=joint, identity=identity, opening=mouth, width=mouth)


def acting(names):
    """Poses in the middle of these actions, several of each for those that move."""
    return [ACTIONS[name].apply(Pose(), share, 1.0, 1.0) for name in names for share in (0.1, 0.5, 0.9)]


def changed(a, b):
    return np.abs(a.astype(int) - b).max(-1) > 0


@pytest.mark.parametrize("framing", FRAMINGS)
def test_hands_are_covered_to_the_fingertips_and_little_else_is(framing, monkeypatch):
    armed = [name for name, action in ACTIONS.items() if {"left", "right"} & set(action.target(0.5, 1.0))]
    poses = [replace(pose, lean=lean) for pose in acting(armed) for lean in (-1.0, 0.0, 1.0)]
    clip = clip_of(poses, framing)
    monkeypatch.setattr(drawing, "_draw_hand", lambda *_: None)
    hand = changed(clip.frames, clip_of(poses, framing).frames)
    for k, pose in enumerate(poses):
        for side in ("left", "right"):
            if getattr(pose, side) == Arm():
                hand[k] &= regions(clip).hands[k]  # that one rests and is not asked for
    assert len(armed) >= 14 and hand.any(axis=(1, 2)).all()
    assert not (hand & ~regions(clip).hands).any()
    assert regions(clip).hands.mean() < 5 * hand.mean()


def test_hands_at_rest_are_no_region_and_one_that_is_away_is_on_its_own_side():
    slack, raised = Arm(14.0 + 3), Arm(90.0, 90.0)
    poses = [Pose(left=slack, lean=1.0), Pose(left=raised), Pose(right=raised), Pose(left=replace(slack, fingers=1.0))]
    rest, left, right, finger = regions(clip_of(poses)).hands
    assert not rest.any() and finger.any()
    assert left[:, SIDE // 2 :].any() and not left[:, : SIDE // 2].any()  # the viewer's right
    assert right[:, : SIDE // 2].any() and not right[:, SIDE // 2 :].any()
    assert not regions(IDLE).hands.any()
    for arm in (Arm(60.0), Arm(elbow=40.0)):  # one joint is enough
        assert regions(clip_of([Pose(right=arm)])).hands.any()


def test_boxes_are_as_large_as_the_figure():
    poses, frames = [Pose(left=Arm(90.0, 90.0))], np.zeros((1, 512, 512, 3), np.uint8)
    near, far = (regions(clip_of(poses, framing, frames)) for framing in ("close", "wide"))
    ratio = (FRAMINGS["close"] / FRAMINGS["wide"]) ** 2
    assert near.mouth.sum() / far.mouth.sum() == pytest.approx(ratio, rel=0.03)
    assert near.hands.sum() / far.hands.sum() == pytest.approx(ratio, rel=0.03)


def test_a_hand_box_is_cut_at_the_border():
    clip = clip_of([Pose(left=Arm(90.0, 0.0))])
    joint = clip.joints.copy()
    joint[:, JOINTS.index("left_hand_x")], joint[:, JOINTS.index("left_hand_y")] = 1.0, 0.5
    (mask,) = regions(replace(clip, joints=joint)).hands
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert columns[-1] == SIDE - 1 and columns[0] == int((1.0 + (0.05 - 0.12) * 0.99) * SIDE)
    assert (rows[0], rows[-1]) == (int((0.5 - 0.12 * 0.99) * SIDE), int((0.5 + 0.12 * 0.99) * SIDE))


@pytest.mark.parametrize(
    "pose",
    [
        Pose(),
        Pose(head_tilt=1.0),
        Pose(head_tilt=-1.0, lean=-1.0),
        Pose(head_turn=0.8),
        Pose(head_nod=1.0),
        Pose(head_nod=-0.9, lean=1.0),
    ],
)
@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_mouth_is_covered_as_wide_and_as_open_as_it_gets(pose, framing):
    narrow, wide = (replace(pose, mouth_opening=1.0, mouth_width=width) for width in (0.0, 1.0))
    clip = clip_of([narrow, wide], framing)
    lips = changed(*clip.frames)
    mask = regions(clip).mouth[1]
    assert lips.sum() > 30 and not (lips & ~mask).any()
    assert mask.sum() < 3.5 * lips.sum()


def test_still_is_what_no_frame_changes_and_keeps_off_what_does():
    frames = np.full((3, SIDE, SIDE, 3), 100, np.uint8)
    frames[1, 30, 40] = 103  # in one frame
    frames[2, 30, 10] = 102  # no more than a small level
    frames[2, 0, 20, 2] = 90  # in one channel, at the border
    still = regions(clip_of([Pose()] * 3, frames=frames)).still
    expected = np.ones((SIDE, SIDE), bool)
    expected[28:33, 38:43] = False
    expected[:3, 18:23] = False
    assert still.shape == (3, SIDE, SIDE) and all(np.array_equal(mask, expected) for mask in still)


def test_regions_of_a_whole_clip_follow_it():
    clip = make_clip(4, World(side=SIDE))
    found = regions(clip)
    assert all(mask.shape == (77, SIDE, SIDE) and mask.dtype == bool for mask in found)
    change = np.abs(clip.frames.astype(int) - clip.frames[0]).max(-1)
    assert 0.2 < found.still[0].mean() < 0.8 and change[found.still].max() <= 2
    cue = clip.cues[0]  # a shrug, with both hands out
    shown = found.hands.any(axis=(1, 2))
    assert cue.action == "shrug" and shown[int(25 * cue.end) // 2] and not shown[int(25 * cue.end) :].any()


# ---- PSNR


def test_psnr_counts_masked_pixels_without_the_first_frame():
    truth, frames, mask = np.zeros((3, 4, 4, 3), np.uint8), np.zeros((3, 4, 4, 3), np.uint8), np.zeros((3, 4, 4), bool)
    frames[0], frames[1:, 0] = 255, 16
    frames[1:, 1] = 99
    mask[:, 0] = True
    assert psnr_of(frames, truth, mask) == pytest.approx(20 * math.log10(255 / 16))
    mask[1, 2] = True  # as many exact pixels as the other frame has wrong ones
    assert psnr_of(frames, truth, mask) == pytest.approx(10 * math.log10(255**2 / (16**2 * 2 / 3)))


def test_psnr_of_nothing_is_nan_and_of_equal_parts_that_of_rounding():
    frames, mask = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4), bool)
    mask[0] = True
    assert math.isnan(psnr_of(frames, frames, mask))
    assert psnr_of(frames, frames, ~mask) == pytest.approx(58.92, abs=0.01)


def test_psnr_of_other_shapes_is_refused():
    frames, mask = np.zeros((2, 4, 4, 3), np.uint8), np.ones((2, 4, 4), bool)
    for wrong in ((frames[:1], frames, mask), (frames, frames[:1], mask), (frames, frames, mask[:1])):
        with pytest.raises(InputError, match="do not belong together"):
            psnr_of(*wrong)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_a_mouth_says_cannot_be_told_from_around_the_talking_boxes(framing):
    moved = [
        Pose(head_turn=turn, head_nod=nod, head_tilt=turn) for turn in (-1.0, 0.0, 1.0) for nod in (-1.0, 0.0, 1.0)
    ]
    poses = [*moved, *acting(ACTIONS)]
    silent, loud = (
        clip_of([replace(pose, mouth_opening=value, mouth_width=value) for pose in poses], framing) for value in (0, 1)
    )
    boxes = talking_boxes(silent)
    assert np.array_equal(boxes, talking_boxes(loud))
    region = region_of_boxes(boxes, (SIDE, SIDE), (SIDE, SIDE))
    assert not (changed(silent.frames, loud.frames) & ~region).any()
    assert not (regions(loud).mouth & ~region).any() and region.mean() < 0.25
