"""Which frame shows which keyframe: totals, what is always seen, allocations."""

import dataclasses

import numpy as np
import pytest

from actavatar_jax.avatarsync.units import Unit, schedule, to_units, unit_table
from actavatar_jax.errors import InputError
from actavatar_jax.speech import Phoneme

TABLE = unit_table()


def random_units(rng, longest=0.3):
    names = rng.choice(TABLE.names[2:], rng.integers(1, 30))
    ends = np.cumsum(rng.uniform(0.04, longest, len(names)))
    starts = [0.0, *ends[:-1]]
    return [
        Unit(TABLE.id(name), str(name), float(start), float(end), (i, i + 1))
        for i, (name, start, end) in enumerate(zip(names, starts, ends, strict=True))
    ]


@pytest.mark.parametrize("snap", [True, False])
@pytest.mark.parametrize("fps", [25, 16])
def test_totals_are_exact_and_times_increase(fps, snap):
    rng = np.random.default_rng(fps)
    for _ in range(100):
        units = random_units(rng)
        seconds = units[-1].end
        found = schedule(units, seconds, fps, snap=snap)
        assert len(found.t) == len(found.left) == len(found.right) == int(seconds * fps + 0.5)
        times = np.asarray([keyframe.time for keyframe in found.keyframes])
        assert (np.diff(times) > 0).all() and len(found.ids) == len(times)
        assert (found.t >= 0).all() and (found.t < 1).all()
        shown = times[found.left] + found.t * (times[found.right] - times[found.left])
        moving = found.t > 0
        np.testing.assert_allclose(shown[moving], np.arange(len(moving))[moving], atol=1e-4)
        if snap:  # every keyframe is seen once, between them as many frames as their times say
            exact = [f for f in range(len(moving)) if f in times]
            np.testing.assert_array_equal(found.left[exact], np.arange(len(times)))
            assert not found.t[exact].any() and exact == times.tolist()
            assert sum(int(step) - 1 for step in np.diff(times)) + len(times) == len(moving)


def test_lips_that_shut_are_always_seen_within_half_a_frame():
    rng = np.random.default_rng(0)
    for _ in range(100):
        units = random_units(rng)
        found = schedule(units, units[-1].end)
        times = {keyframe.unit: keyframe.time for keyframe in found.keyframes}
        on = {keyframe.time: keyframe.name for keyframe in found.keyframes}
        last = len(found.t) - 1
        for number, unit in enumerate(units):
            middle = (unit.start + unit.end) / 2 * 25 - 0.5
            if unit.name == "b":
                assert on[min(max(np.floor(middle + 0.5), 0), last)] == "b"
            if number in times and unit.name not in ("sil",) and 0 < times[number] < last:
                assert abs(times[number] - middle) <= 0.5 + 1e-6
        for name, gap in zip(found.keyframes, found.keyframes[1:], strict=False):
            if not {name.name, gap.name} & set(TABLE.never_dropped):
                assert gap.time - name.time >= 2


def test_what_may_be_left_out_goes_by_rank():
    said = [("d", 0.04), ("a", 0.04), ("l", 0.04)]
    ends = np.cumsum([0.2, *(length for _, length in said), 0.4])
    starts = [0.0, *ends[:-1]]
    phonemes = [Phoneme(s, float(a), float(b)) for s, a, b in zip(("_", "d", "a", "l", "_"), starts, ends, strict=True)]
    found = schedule(to_units(phonemes), float(ends[-1]))
    assert [keyframe.name for keyframe in found.keyframes] == ["sil", "sil", "a", "sil", "sil", "sil"]


def test_long_pauses_have_two_keyframes_and_hold_them():
    units = to_units([Phoneme("a", 0.0, 0.4), Phoneme("_", 0.4, 1.2), Phoneme("a", 1.2, 1.6), Phoneme("_", 1.6, 1.8)])
    found = schedule(units, 1.8)
    assert [(k.name, k.time) for k in found.keyframes] == [
        ("sil", 0), ("a", 5), ("sil", 12), ("sil", 27), ("a", 35), ("sil", 42), ("sil", 44),
    ]  # fmt: skip
    assert not found.t[12:27].any() and (found.left[12:27] == 2).all() and found.t[28] > 0
    assert found.t[6] == pytest.approx(1 / 7)


def test_beyond_the_units_lips_shut_and_what_is_beyond_the_clip_is_left_out():
    units = to_units([Phoneme("a", 0.0, 0.4), Phoneme("m", 0.4, 0.8)])
    assert [(k.name, k.time) for k in schedule(units, 1.2).keyframes][-1] == ("sil", 29)
    assert [(k.name, k.time) for k in schedule(units, 0.44).keyframes] == [("sil", 0), ("a", 5), ("sil", 10)]
    assert [(k.name, k.time) for k in schedule([], 0.04).keyframes] == [("sil", 0)]


def test_allocations_keep_the_order_and_the_total():
    units = random_units(np.random.default_rng(3))
    usual = schedule(units, units[-1].end)
    count, last = len(usual.keyframes), len(usual.t) - 1
    fixed = schedule(units, units[-1].end, allocation="fixed")
    steps = np.diff([keyframe.time for keyframe in fixed.keyframes])
    assert (steps[:-1] == last // (count - 1)).all() and steps.sum() == last and steps.min() > 0
    drawn = [schedule(units, units[-1].end, allocation="random", rng=np.random.default_rng(i)) for i in (0, 0, 1)]
    times = [[keyframe.time for keyframe in one.keyframes] for one in drawn]
    assert times[0] == times[1] != times[2] and all(np.diff(one).min() > 0 and one[-1] == last for one in times)
    for other in (fixed, *drawn):
        assert [k.unit for k in other.keyframes] == [k.unit for k in usual.keyframes] and len(other.t) == last + 1


def test_another_sound_of_the_same_rank_changes_what_lies_beside_it_only():
    units = random_units(np.random.default_rng(5))
    number = next(i for i, unit in enumerate(units) if i > 3 and unit.name in TABLE.ranks[3])
    other = next(name for name in TABLE.ranks[3] if name != units[number].name)
    edited = [*units]
    edited[number] = dataclasses.replace(units[number], name=other, id=TABLE.id(other))
    before, after = schedule(units, units[-1].end), schedule(edited, units[-1].end)
    np.testing.assert_array_equal(before.t, after.t)
    (place,) = [i for i, keyframe in enumerate(before.keyframes) if keyframe.unit == number]
    assert np.flatnonzero(before.ids != after.ids).tolist() == [place]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"allocation": "even"}, "'even'; accepted is dynamic, fixed, random"),
        ({"allocation": "random"}, "random takes an rng"),
        ({"allocation": "fixed", "snap": False}, "accepted with it is snap"),
        ({"seconds": 0.01}, "a clip of 0.01 s has no frame"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=f"(?i){message}"):
        schedule([], **{"seconds": 1.0} | options)
