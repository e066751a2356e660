"""Scores on constructed curves, where every answer is known."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.evaluation.measures import window_frames
from actavatar_jax.evaluation.report import mean_figure, median_figure
from actavatar_jax.evaluation.scores import (
    Judgement,
    Truth,
    accuracy,
    boundary_error,
    centre,
    centre_correlation,
    hit,
    identity_drift,
    lip_correlation,
    psnr,
    satisfied,
    score_clips,
    temporal_correctness,
    temporal_iou,
)

FRAMES, FPS = 100, 25
NAMES = ("wave", "nod", "clap", "point")


def box(start, end, height=1.0):
    """A curve that is `height` from `start` to `end` seconds of a clip of 4 s."""
    seconds = np.arange(FRAMES) / FPS
    return np.where((seconds >= start) & (seconds < end), height, 0.0)


# ---- one clip


def test_windows_take_the_frames_whose_instant_they_hold():
    assert window_frames((0.5, 1.5), FRAMES) == slice(13, 38)  # frame 13 shows 0.52 s, frame 37 1.48 s
    assert window_frames((0.4, 0.8), FRAMES) == slice(10, 20)
    assert window_frames((3.0, 4.16), FRAMES) == slice(75, 100)
    for outside in ((4.0, 5.0), (1.0, 1.0), (0.001, 0.039)):
        with pytest.raises(InputError, match=r"holds no frame of a clip of 4 s"):
            window_frames(outside, FRAMES)


def test_a_hit_needs_the_mean_over_the_window_above_one_half():
    assert hit(box(1, 2), (1, 2)) and hit(box(1, 1.6), (1, 2)) and hit(box(0, 4, 0.51), (1, 2))
    assert not hit(box(1, 1.4), (1, 2)) and not hit(box(2, 3), (1, 2)) and not hit(box(0, 4, 0.5), (1, 2))


def test_accuracy_asks_for_the_clearest_of_all_actions_in_the_window():
    curves = np.stack([box(0, 2, 0.3), box(0, 4, 0.2), box(2, 4, 0.9)], axis=1)
    assert accuracy(curves, 0, (0, 2)) and not accuracy(curves, 1, (0, 2)) and not accuracy(curves, 2, (0, 2))
    assert accuracy(curves, 2, (2, 4))


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (box(1, 2), 1.0),
        (box(1, 2, 0.3), 1.0),  # half of its own peak, not of one
        (box(1, 2, 0.19), 0.0),  # nothing was seen
        (box(1.48, 2.48), 13 / 37),
        (box(2, 3), 0.0),
        (box(0, 4), 0.25),
        (np.maximum(box(1, 2), box(0, 4, 0.4)), 1.0),
    ],
)
def test_temporal_iou(curve, expected):
    assert temporal_iou(curve, (1, 2)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (box(1, 3), 10),
        (box(1.28, 3.28), 10),  # within 0.3 s
        (box(1.2, 2.8), 10),
        (box(2, 4), 5),  # half of it in place
        (box(1.36, 3.36), 8.2),
        (box(3, 4), 0),
        (box(0, 4), 5),  # never ends
        (box(1.6, 1.8), 1),  # a flash
        (box(1, 3, 0.1), 0),
    ],
)
def test_temporal_correctness(curve, expected):
    assert temporal_correctness(curve, (1, 3)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "inside", "error"),
    [
        (box(1, 3), True, 0),
        (box(1.6, 1.8), True, 0.9),  # a flash of it is inside, and far from the borders
        (box(0.72, 3.28), True, 0.28),
        (box(0.64, 3), False, 0.18),
        (box(1, 3.36), False, 0.18),
        (box(0, 4), False, 1),
        (box(3, 4), False, 1.5),
        (np.maximum(box(1, 3), box(3.8, 3.84, 0.6)), False, 0.42),  # comes again
        (np.maximum(box(1, 3), box(3.8, 3.84, 0.4)), True, 0),  # hardly
        (box(1, 3, 0.19), False, math.nan),  # nothing was seen
    ],
)
def test_constraints_and_boundaries(curve, inside, error):
    assert satisfied(curve, (1, 3)) is inside
    assert boundary_error(curve, (1, 3)) == pytest.approx(error, nan_ok=True)


def test_centre_is_the_centre_of_mass_above_half_peak():
    assert centre(box(1, 2)) == pytest.approx(1.5)
    assert centre(np.maximum(box(1, 2, 0.2), box(3, 4, 0.05))) == pytest.approx(1.5)
    assert [centre(np.zeros(FRAMES)), centre(np.full(FRAMES, 0.3))] == pytest.approx([2.0, 2.0])
    assert 1.5 < centre(box(1, 1.5, 0.6) + box(1.5, 2)) < 1.6


def test_centre_correlation():
    asked = np.array([0.5, 1.5, 2.5, 3.0])
    assert centre_correlation(asked * 0.8 + 0.1, asked) == pytest.approx(1)
    assert centre_correlation(4 - asked, asked) == pytest.approx(-1)
    assert centre_correlation(np.full(4, 2.0), asked) == 0


def speech_mouth(seed=0, frames=FRAMES):
    noise = np.random.default_rng(seed).uniform(0, 1, frames + 2)
    return (noise[:-2] + 2 * noise[1:-1] + noise[2:]) / 4


@pytest.mark.parametrize("lag", range(-8, 9))
def test_a_picture_that_comes_later_has_a_positive_lag(lag):
    padded = speech_mouth(frames=FRAMES + 16)
    true, measured = padded[8:-8], padded[8 - lag : 8 - lag + FRAMES]
    found = lip_correlation(0.3 + 0.5 * measured, true)
    assert found.lag == lag and found.best == pytest.approx(1)
    assert found.at_zero == pytest.approx(1) if lag == 0 else found.at_zero < 0.8


def test_a_mouth_that_stands_still_follows_nothing():
    flicker = 1e-4 * np.random.default_rng(1).standard_normal(FRAMES)
    for still in (np.zeros(FRAMES), np.full(FRAMES, 0.4), 0.4 + flicker):
        assert lip_correlation(still, speech_mouth()) == (0, 0, 0)
    assert lip_correlation(speech_mouth(), np.zeros(FRAMES)).best == 0


def test_openings_must_be_of_one_length_and_long_enough():
    for frames in (99, 10):
        with pytest.raises(InputError, match="cannot be compared"):
            lip_correlation(np.zeros(frames), np.zeros(100 if frames == 99 else 10))


def test_identity_drift():
    person, other = np.array([3.0, 0.0, 0.0]), np.array([0.0, 2.0, 0.0])
    assert identity_drift(np.stack([person] * 5)) == pytest.approx(0)
    assert identity_drift(np.stack([person] + [other] * 4)) == pytest.approx(1)
    assert identity_drift(np.stack([person, 7 * person, other])) == pytest.approx(0.5)
    assert identity_drift(person[None]) == 0


def test_psnr():
    black = np.zeros((2, 4, 4, 3), np.uint8)
    assert psnr(black, black) == math.inf
    assert psnr(black + np.uint8(255), black) == pytest.approx(0)
    assert psnr(black, black + np.uint8(16)) == pytest.approx(20 * math.log10(255 / 16))


# ---- many clips


@dataclass(frozen=True)
class Cue:
    start: float
    end: float
    action: str


def make_truths(count=40, seed=0):
    """Half of the clips with one phase anywhere, half with two or three; different actions in one clip."""
    rng = np.random.default_rng(seed)
    truths = []
    for i in range(count):
        phases = 1 if i % 2 else int(rng.integers(2, 4))
        edges = np.sort(rng.choice(9, 2 * phases, replace=False)) / 2
        edges = np.minimum(edges, 4)
        names = rng.permutation(NAMES)[:phases]
        cues = [Cue(*window, str(name)) for window, name in zip(edges.reshape(-1, 2), names, strict=True)]
        truths.append(Truth(cues, speech_mouth(seed=[seed, i])))
    return truths


def see(truth, look=0):
    """The judgement of a clip that shows what its truth says."""
    actions = np.stack(
        [sum([box(c.start, c.end) for c in truth.cues if c.action == name], np.zeros(FRAMES)) for name in NAMES],
        axis=1,
    )
    embedding = np.tile(np.eye(4)[look], (FRAMES, 1))
    return Judgement(NAMES, actions, truth.opening, truth.opening, np.zeros((FRAMES, 2, 2)), embedding)


TRUTHS = make_truths()
PERFECT = score_clips([see(truth) for truth in TRUTHS], TRUTHS)


def test_clips_that_show_what_was_asked_score_one():
    for name in ("hit", "accuracy", "iou", "satisfied", "centre", "lip", "lip_at_zero", "lag_within_1"):
        figure = PERFECT[name]
        assert (figure.value, figure.low, figure.high) == pytest.approx((1, 1, 1), abs=1e-3), name
    assert PERFECT["correctness"].value == 10 and PERFECT["lag"].value == 0 and PERFECT["drift"].value == 0
    assert PERFECT["boundary"].value == 0
    assert PERFECT["hit"].clips == 40 and PERFECT["centre"].clips == 20 and PERFECT["hit_swapped"].clips == 20


def test_against_wrong_windows_the_same_clips_score_low():
    assert PERFECT["hit_shuffled"].value < 0.6 and PERFECT["iou_shuffled"].value < 0.45
    assert abs(PERFECT["centre_shuffled"].value) < 0.1
    assert PERFECT["iou_gap"].value == pytest.approx(1 - PERFECT["iou_shuffled"].value)
    assert PERFECT["hit_swapped"].value == PERFECT["iou_swapped"].value == PERFECT["accuracy_swapped"].value == 0
    assert PERFECT["satisfied_shuffled"].value < 0.6 and PERFECT["boundary_shuffled"].value > 0.5
    assert PERFECT["satisfied_swapped"].value == 0 and PERFECT["lip_shuffled"].value < 0.5


def test_shuffled_windows_are_of_all_other_clips_with_as_many_phases():
    opening = speech_mouth()
    truths = [Truth([Cue(start, start + 1, "nod")], opening) for start in (0.0, 1.0, 1.0)]
    truths.append(Truth([Cue(0, 1, "nod"), Cue(2, 3, "wave")], opening))  # alone with two phases
    report = score_clips([see(truth) for truth in truths], truths)
    # Clip 0 misses both others; clips 1 and 2 hit each other's windows and miss clip 0's.
    assert report["hit_shuffled"].value == report["iou_shuffled"].value == pytest.approx(1 / 3)
    assert report["hit_shuffled"].clips == 3 and report["hit"].clips == 4


def test_frozen_clips_score_zero():
    still = [
        replace(see(t), actions=np.zeros((FRAMES, 4)), opening=np.full(FRAMES, 0.2), width=np.zeros(FRAMES))
        for t in TRUTHS
    ]
    report = score_clips(still, TRUTHS)
    for name in ("hit", "iou", "correctness", "satisfied", "centre", "lip", "lip_at_zero"):
        assert report[name].value == 0, name


def test_actions_that_go_on_all_the_time_hit_but_show_no_timing():
    always = []
    for truth in TRUTHS:
        named = [any(c.action == name for c in truth.cues) for name in NAMES]
        always.append(replace(see(truth), actions=np.tile(np.array(named, float), (FRAMES, 1))))
    report = score_clips(always, TRUTHS)
    assert report["hit"].value == report["hit_shuffled"].value == 1
    assert report["iou"].value < 0.5 and abs(report["iou_gap"].value) < 0.05
    assert report["centre"].value == 0


def test_reversed_clips_fall():
    back = [replace(see(t), actions=see(t).actions[::-1].copy(), opening=t.opening[::-1].copy()) for t in TRUTHS]
    report = score_clips(back, TRUTHS)
    assert report["hit"].value < 0.6 and report["iou"].value < 0.5 and report["centre"].value < -0.9
    assert report["lip"].value < 0.5


@pytest.mark.parametrize("shift", [-3, 0, 3])
def test_shifted_sound_moves_the_lag_by_the_shift(shift):
    shifted = [replace(truth, opening=np.roll(truth.opening, -shift)) for truth in TRUTHS]
    report = score_clips([see(truth) for truth in TRUTHS], shifted)
    assert (report["lag"].value, report["lag"].low, report["lag"].high) == (shift, shift, shift)
    assert report["lag_within_1"].value == (abs(shift) <= 1)


def test_phases_count_alike_whatever_their_clip():
    many, one = Truth([Cue(0, 1, "wave"), Cue(1, 2, "nod"), Cue(2, 3, "clap")], TRUTHS[0].opening), TRUTHS[1]
    missing = replace(see(one), actions=np.zeros((FRAMES, 4)))
    report = score_clips([see(many), missing], [many, one])
    assert report["hit"].value == report["satisfied"].value == pytest.approx(3 / 4)


def test_boundaries_are_those_of_the_actions_that_were_seen():
    two, one = (
        Truth([Cue(0, 1, "wave"), Cue(1, 2, "nod")], TRUTHS[0].opening),
        Truth([Cue(2, 3, "clap")], TRUTHS[1].opening),
    )
    late = replace(see(one), actions=np.roll(see(one).actions, 10, axis=0))
    unseen = replace(see(two), actions=see(two).actions * (np.array(NAMES) != "nod"))
    report = score_clips([unseen, late, see(Truth([], one.opening))], [two, one, Truth([], one.opening)])
    assert report["boundary"].value == pytest.approx(0.4 / 2) and report["boundary"].clips == 2
    assert report["satisfied"].value == pytest.approx(1 / 3)
    alone = score_clips([replace(see(one), actions=np.zeros((FRAMES, 4)))], [one])
    assert "boundary" not in alone.figures and alone["satisfied"].value == 0


def test_clips_without_phases_count_in_the_lip_figures_alone():
    quiet = Truth([], speech_mouth(9))
    report = score_clips([see(quiet)], [quiet])
    assert set(report.figures) == {"lip", "lip_at_zero", "lag", "lag_within_1", "drift"}
    assert report.line() == "lips 1.00 at lag 0.00, drift 0.00 | 1 clip"


def test_pictures_give_psnr():
    black = np.zeros((2, 4, 4, 3), np.uint8)
    truths = [replace(TRUTHS[0], pictures=(black, black + np.uint8(16))), TRUTHS[1]]
    report = score_clips([see(t) for t in truths], truths)
    assert report["psnr"].value == pytest.approx(24.05, abs=0.01) and report["psnr"].clips == 1


def pictures_and_regions(first=0, rest=16, hands=True):
    """Three frames of errors `first`, `rest`, `rest` but for exact walls, and masks of all that can be told apart."""
    black = np.zeros((3, 4, 4, 3), np.uint8)
    frames = black + np.uint8(rest)
    frames[0], frames[:, 3] = first, 0
    names = ("hands", "mouth", "still")
    masks = {name: np.zeros((3, 4, 4), bool) for name in names}
    masks["hands"][1, :2], masks["mouth"][:, 2], masks["still"][:, 3] = hands, True, True
    return {"pictures": (frames, black), "regions": masks}


def test_regions_give_psnr_of_their_own_without_the_first_frame():
    with_hands, without = pictures_and_regions(first=99), pictures_and_regions(rest=32, hands=False)
    truths = [replace(TRUTHS[0], **with_hands), replace(TRUTHS[1], **without), TRUTHS[2]]
    report = score_clips([see(t) for t in truths], truths)
    louder, softer = (20 * math.log10(255 / rest) for rest in (32, 16))
    assert report["psnr_mouth"].value == pytest.approx((louder + softer) / 2) and report["psnr_mouth"].clips == 2
    assert report["psnr_hands"].value == pytest.approx(softer) and report["psnr_hands"].clips == 1
    assert report["psnr_still"].value == pytest.approx(58.92, abs=0.01)  # exact, and yet a number
    whole = (louder + softer) / 2 + 10 * math.log10(4 / 3)  # a quarter is exact
    assert report["psnr_whole"].value == pytest.approx(whole) and report["psnr_whole"].clips == 2
    assert report["psnr_mouth"].low < report["psnr_mouth"].value < report["psnr_mouth"].high
    table = report.table().splitlines()
    assert [line.split()[-1] for line in table if "dB" in line or line.startswith("...")] == ["2", "2", "1", "2", "2"]


def test_regions_that_do_not_fit_are_refused():
    good = pictures_and_regions()
    unknown = replace(TRUTHS[0], pictures=good["pictures"], regions={"feet": good["regions"]["hands"]})
    with pytest.raises(InputError, match="region 'feet' of clip 0; accepted are hands, mouth, still"):
        score_clips([see(unknown)], [unknown])
    blind = replace(TRUTHS[0], regions=good["regions"])
    with pytest.raises(InputError, match="regions of clip 0 without its pictures"):
        score_clips([see(blind)], [blind])


def test_wrong_input_is_told_in_one_sentence():
    with pytest.raises(InputError, match="1 judgements of 2 clips"):
        score_clips([see(TRUTHS[0])], TRUTHS[:2])
    with pytest.raises(InputError, match="0 judgements of 0 clips"):
        score_clips([], [])
    with pytest.raises(InputError, match="does not know the action 'juggle'; it knows wave, nod"):
        score_clips([see(TRUTHS[0])], [Truth([Cue(0, 1, "juggle")], TRUTHS[0].opening)])


# ---- intervals and the report


def test_intervals_are_the_bootstraps_and_repeat():
    values = [float(v) for v in np.random.default_rng(3).integers(0, 2, 100)]
    figure = mean_figure(values)
    spread = math.sqrt(figure.value * (1 - figure.value) / 100)
    assert figure.low == pytest.approx(figure.value - 1.96 * spread, abs=0.025)
    assert figure.high == pytest.approx(figure.value + 1.96 * spread, abs=0.025)
    assert mean_figure(values) == figure
    assert median_figure([0.0, 1.0, 1.0, 2.0, 9.0]).value == 1


def test_missing_values_do_not_count():
    figure = mean_figure([1.0, None, 3.0], np.array([1.0, 50.0, 3.0]))
    assert figure.value == pytest.approx(2.5) and figure.clips == 2


def test_report_prints_and_is_json():
    assert PERFECT.line().startswith("hit 1.00 (shuffled 0.")
    assert PERFECT.line().endswith("lips 1.00 at lag 0.00, drift 0.00 | 40 clips")
    table = PERFECT.table().splitlines()
    assert len({len(line) for line in table}) == 1
    assert any(line.startswith("temporal IoU above shuffled") for line in table)
    stored = json.loads(json.dumps(PERFECT.to_dict(), allow_nan=False))
    assert stored["clips"] == 40 and stored["figures"]["hit"] == {"value": 1, "low": 1, "high": 1, "clips": 40}
    same = np.zeros((2, 4, 4, 3), np.uint8)
    infinite = score_clips([see(TRUTHS[0])], [replace(TRUTHS[0], pictures=(same, same))])
    assert infinite.to_dict()["figures"]["psnr"]["value"] is None
