"""From a picture and speech to a video: frames in order, as the schedule has them; edits leave the rest as it is."""

import dataclasses

import numpy as np
import pytest

from actavatar_jax.avatarsync import Alignment, AvatarSyncPipeline, plan_speech, plan_text
from actavatar_jax.avatarsync.units import exchange_unit
from actavatar_jax.errors import InputError
from actavatar_jax.media import Sound
from actavatar_jax.speech import Phoneme
from tests.avatarsync.tiny import tiny_parts

PHONEMES = (
    *(Phoneme("_", 0.0, 0.4), Phoneme("m", 0.4, 0.52), Phoneme("a", 0.52, 0.8), Phoneme("p", 0.8, 0.92)),
    *(Phoneme("i", 0.92, 1.2), Phoneme("f", 1.2, 1.32), Phoneme("a", 1.32, 1.6), Phoneme("_", 1.6, 1.8)),
)
PLAN = plan_speech(Alignment(PHONEMES), Sound.coerce(np.zeros(28800, np.float32)))
UNIT = next(number for number, unit in enumerate(PLAN.units) if unit.name == "i")
RNG = np.random.default_rng(0)
PORTRAIT = RNG.integers(0, 256, (48, 40, 3), np.uint8)


class Straight:
    """Mixes pictures, and remembers the intervals that it was asked for."""

    def __init__(self):
        self.asked = set()

    def __call__(self, first, second, t):
        self.asked |= {(one.tobytes(), other.tobytes()) for one, other in zip(first, second, strict=True)}
        t = t[:, :, None, None, None]
        return first[:, None] * (1 - t) + second[:, None] * t


@pytest.fixture(scope="module")
def pipelines(quick_compilation):
    made = {visible: AvatarSyncPipeline(tiny_parts(visible)) for visible in ("one_to_one", "accumulative")}
    for pipeline in made.values():
        pipeline.interpolate = Straight()
    return made


@pytest.fixture(scope="module")
def take(pipelines):
    return pipelines["one_to_one"](PORTRAIT, PLAN, seed=5)


def test_a_video_is_as_long_as_its_sound_and_shows_keyframes_where_they_are(take):
    video, draft = take.video, take.draft
    assert video.frames.shape == (45, 32, 32, 3) and len(video.audio) == 28800
    numbers = [int(keyframe.time) for keyframe in PLAN.schedule.keyframes]
    np.testing.assert_array_equal(video.frames[numbers], np.round(draft.keyframes * 255).astype(np.uint8))
    assert len(np.unique(draft.tokens, axis=0)) > 2
    silent = [i for i, keyframe in enumerate(PLAN.schedule.keyframes) if keyframe.name == "sil"]
    assert (draft.tokens[silent] == draft.tokens[silent[0]]).all()  # one unit, one picture: noise is shared


def test_pasted_frames_are_the_portraits_where_nothing_changes(pipelines, take):
    pipeline = pipelines["one_to_one"]
    pasted = pipeline(PORTRAIT, PLAN, seed=5, paste=True)
    into = pasted.draft.paste
    np.testing.assert_array_equal(pasted.draft.tokens, take.draft.tokens)
    np.testing.assert_array_equal(np.round(into.portrait * 255), pipeline.painter.fit_portrait(PORTRAIT))
    frame = int(PLAN.schedule.keyframes[2].time)
    np.testing.assert_array_equal(pasted.frames[frame], np.round(np.clip(into(take.draft.keyframes[2]), 0, 1) * 255))
    edited = pipeline.edit(pasted, UNIT, "o")
    assert edited.draft.paste is into and (edited.frames == pasted.frames).all((1, 2, 3)).any()


def test_frames_come_in_order_before_later_ones_are_made(pipelines, take):
    pipeline = pipelines["one_to_one"]
    pipeline.interpolate = Straight()
    numbers, asked = [], []
    for number, frame in pipeline.stream(take.draft):
        np.testing.assert_array_equal(frame, take.frames[number])
        numbers.append(number)
        asked.append(len(pipeline.interpolate.asked))
    assert numbers == list(range(45)) and asked[0] == 0  # the first keyframe waits for nothing


def test_the_same_seed_gives_the_same_video_and_another_one_another(pipelines, take):
    np.testing.assert_array_equal(pipelines["one_to_one"](PORTRAIT, PLAN, seed=5).frames, take.frames)
    assert (pipelines["one_to_one"].draft(PORTRAIT, PLAN, seed=6).tokens != take.draft.tokens).any()


def test_an_edit_makes_one_keyframe_and_its_two_intervals_anew(pipelines, take):
    pipeline = pipelines["one_to_one"]
    pipeline.interpolate = Straight()
    edited = pipeline.edit(take, UNIT, "u")
    place = next(i for i, keyframe in enumerate(PLAN.schedule.keyframes) if keyframe.unit == UNIT)
    before, at, after = (int(PLAN.schedule.keyframes[place + step].time) for step in (-1, 0, 1))
    changed = np.flatnonzero((edited.frames != take.frames).any((1, 2, 3)))
    assert at in changed and before < changed.min() and changed.max() < after
    pairs = {(edited.draft.keyframes[place - 1].tobytes(), edited.draft.keyframes[place].tobytes())}
    pairs |= {(edited.draft.keyframes[place].tobytes(), edited.draft.keyframes[place + 1].tobytes())}
    fill = edited.draft.keyframes[0].tobytes()  # what fills a batch of pairs
    assert pipeline.interpolate.asked - {(fill, fill)} == pairs
    whole = dataclasses.replace(PLAN, schedule=exchange_unit(PLAN.schedule, UNIT, "u"))
    np.testing.assert_array_equal(edited.frames, pipeline(PORTRAIT, whole, seed=5).frames)
    np.testing.assert_array_equal(pipeline.edit(edited, UNIT, "i").frames, take.frames)


def test_with_another_mask_the_keyframes_that_see_the_unit_are_made_anew(pipelines):
    pipeline = pipelines["accumulative"]
    take = pipeline(PORTRAIT, PLAN, seed=5)
    drawn = []
    painter = pipeline.painter
    original, painter.draw = painter.draw, lambda *a: drawn.append(a[-1]) or original(*a)
    edited = pipeline.edit(take, UNIT, "u")
    painter.draw = original
    place = next(i for i, keyframe in enumerate(PLAN.schedule.keyframes) if keyframe.unit == UNIT)
    np.testing.assert_array_equal(drawn[0], np.arange(place, len(PLAN.schedule.keyframes)))
    begin = int(PLAN.schedule.keyframes[place - 1].time)
    np.testing.assert_array_equal(edited.frames[: begin + 1], take.frames[: begin + 1])


def test_lips_that_shut_in_an_edit_are_held_through_the_pause(pipelines, take):
    last = max(number for number, unit in enumerate(PLAN.units) if unit.name == "a")
    edited = pipelines["one_to_one"].edit(take, last, "sil")
    plan = edited.draft.plan.schedule
    assert (plan.t[-10:] == 0).sum() > (PLAN.schedule.t[-10:] == 0).sum()
    whole = dataclasses.replace(PLAN, schedule=plan)
    np.testing.assert_array_equal(edited.frames, pipelines["one_to_one"](PORTRAIT, whole, seed=5).frames)


@pytest.fixture(scope="module")
def of_words(quick_compilation):
    parts = tiny_parts(level="words", units=4096)
    parts.keyframes.params["units"] *= 8  # as large as where there are 64
    pipeline = AvatarSyncPipeline(parts)
    pipeline.interpolate = Straight()
    return pipeline


def test_a_model_of_words_shows_words_and_exchanges_them(of_words):
    plan = plan_speech(Alignment(PHONEMES, (0.4, 0.92)), PLAN.sound, "words")
    assert [unit.name for unit in plan.units] == ["sil", "/b-a-b/", "/i-f-a/", "sil"]
    take = of_words(PORTRAIT, plan, seed=5)
    first, second = (next(i for i, k in enumerate(plan.schedule.keyframes) if k.unit == unit) for unit in (1, 2))
    assert (take.draft.tokens[first] != take.draft.tokens[second]).any()
    edited = of_words.edit(take, 2, "/s-o-s/")
    np.testing.assert_array_equal((edited.draft.tokens != take.draft.tokens).any(1).nonzero()[0], [second])
    with pytest.raises(InputError, match="There is no word 'u'"):
        of_words.edit(take, 2, "u")


def test_plans_of_another_level_are_refused(pipelines, of_words):
    with pytest.raises(InputError, match="has units of phonemes; accepted by this model are units of words"):
        of_words(PORTRAIT, PLAN)
    plan = plan_speech(Alignment(PHONEMES, (0.4, 0.92)), level="words")
    with pytest.raises(InputError, match="has units of words; accepted by this model are units of phonemes"):
        pipelines["one_to_one"].draft(PORTRAIT, plan)


def test_edits_that_cannot_be(pipelines, take):
    with pytest.raises(InputError, match="There is no unit 'x2'"):
        pipelines["one_to_one"].edit(take, UNIT, "x2")
    with pytest.raises(InputError, match=r"Unit 99 has no keyframe; those that have one are 0 sil, 1 b"):
        pipelines["one_to_one"].edit(take, 99, "u")


def test_a_text_is_spoken_in_its_language():
    pytest.importorskip("espeakng_loader")
    plan = plan_text("A map.", "en")
    assert len(plan.schedule.t) == round(25 * len(plan.sound.samples) / 16000)
    assert "b" in [unit.name for unit in plan.units]
    assert [unit.name for unit in plan_text("A map.", "en", level="words").units][:2] == ["/a/", "/b-ae-b/"]
    with pytest.raises(InputError, match="no voice of the language 'fr'; the languages are en, de"):
        plan_text("Bonjour.", "fr")
