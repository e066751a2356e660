"""Videos longer than a model makes at once: where they are cut, what a part knows, and that nothing is made twice."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actavatar_jax import ActAvatarPipeline, InputError
from actavatar_jax.encoders import Encoders
from actavatar_jax.media import Sound, Video, load_sound, load_video, probe
from actavatar_jax.models import PRESETS
from actavatar_jax.pipeline import Excerpt, LongVideo, cut_parts, cut_prompt, prompt_of_long
from actavatar_jax.pipeline.long import hold_colours, measure_colours
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.runs.jobs import Job, run_jobs
from actavatar_jax.runs.long_videos import make_long_video
from actavatar_jax.runs.small_world import make_model
from tests.media.sounds import encode, tones

SIZE, LENGTH = (64, 64), 9
PROMPT = "A square. [0-0.4s] Moves. [0.4-1s] Turns. [1-1.4s] Stops."
RNG = np.random.default_rng(0)


@given(frames=st.integers(1, 3000), half=st.integers(1, 40), overlap=st.integers(1, 10))
def test_parts_follow_each_other_without_a_gap_and_come_out_exact(frames, half, overlap):
    length, known, bare = 4 * half + 1, LongVideo(1, overlap).known, StructuredPrompt("A.")
    if known >= length:
        with pytest.raises(InputError, match="smaller overlap"):
            cut_parts(frames, length, known, bare)
        return
    parts = cut_parts(frames, length, known, bare)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert parts[0].begin == parts[0].known == 0 and parts[-1].end == frames
    for before, part in itertools.pairwise(parts):
        assert part.known == known and part.begin + known == before.end
        assert before.known + before.added == length  # only the last one is cut
    assert all(0 < part.added <= length for part in parts)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 60)), max_size=8))
def test_actions_are_cut_only_where_a_part_would_be_half_as_long(windows):
    phases = tuple(Phase(start / 10, (start + length) / 10, "Nods.") for start, length in windows)
    prompt = StructuredPrompt("A.", phases)
    parts = cut_parts(600, 77, 1, prompt)
    inside = [any(phase.start < frame / 25 < phase.end for phase in prompt.phases) for frame in range(601)]
    assert parts[-1].end == 600 and all(a.end == b.begin + 1 for a, b in itertools.pairwise(parts))
    for part in parts[:-1]:
        most, last = 77 - part.known, part.begin + 77
        assert most // 2 < part.added <= most
        if inside[part.end]:
            assert part.end == last and all(inside[last - most + most // 2 + 1 : last])
        else:
            assert all(inside[part.end + 1 : last + 1])  # it is the latest border between actions


def test_every_part_has_noise_of_its_own_and_the_first_that_of_a_short_video():
    seeds = [part.seed(7) for part in cut_parts(100, 9, 1, StructuredPrompt("A."))]
    assert seeds[0] == 7 and len(set(seeds)) == len(seeds)


class Heard(Encoders):
    """Its features are the mean of the samples of a frame."""

    def __init__(self):
        pass

    def audio(self, samples, frames, fps):
        return samples.reshape(frames, 1, 16000 // fps).mean(-1, keepdims=True)


@pytest.mark.parametrize(("begin", "context"), [(0, 0), (0, 5), (3, 5), (40, 5), (95, 25)])
@pytest.mark.parametrize("fps", [25, 16])
def test_speech_is_cut_where_its_frames_are_and_heard_in_its_context(begin, context, fps):
    each = 16000 // fps
    samples = np.repeat(np.linspace(0.1, 0.9, 100, dtype=np.float32), each)
    excerpt = Excerpt(Sound(samples[:, None], 16000), begin, context, fps)
    wanted = np.pad(samples, (0, each * 200))[each * begin :][: 9 * each]
    np.testing.assert_array_equal(excerpt.cut(0, 9).samples[:, 0], wanted)
    np.testing.assert_allclose(excerpt.encode(Heard(), 9)[:, 0, 0], wanted[::each], atol=1e-6)


@pytest.mark.parametrize("rate", [44100, 11025])
def test_frames_that_are_no_whole_samples_of_a_recording_are_heard_whole(rate):
    """A frame of 1/16 s has 689.0625 samples at 11,025 Hz, which become 999 to 1,001 at 16 kHz."""
    sound = Sound(np.full((rate * 4, 1), 0.5, np.float32), rate)
    for begin, context in itertools.product(range(32), (0, 3)):
        excerpt = Excerpt(sound, begin, context, 16)
        np.testing.assert_allclose(excerpt.encode(Heard(), 9), 0.5, atol=0.02)
        lengths = [len(excerpt.cut(frame, frame + 1).samples) for frame in range(16)]
        assert set(lengths) == {rate // 16, rate // 16 + 1} and sum(lengths) == rate


def test_held_colours_are_those_of_the_first_part():
    first, later = (np.clip(RNG.normal(mean, 20, (5, 16, 16, 3)), 0, 255).astype(np.uint8) for mean in (120, 90))
    held = hold_colours(later, measure_colours(first))
    np.testing.assert_allclose(measure_colours(held), measure_colours(first), atol=0.5)
    order = np.argsort(later[..., 0], axis=None)
    assert (np.diff(held[..., 0].reshape(-1)[order].astype(int)) >= 0).all()  # what is brighter stays so


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seconds": 0.0}, "seconds is 0.0; accepted is a number above 0"),
        ({"seconds": 1e9}, "at most 86400"),
        ({"seconds": 2, "overlap": 0}, "overlap is 0; accepted is a whole number from 1"),
        ({"overlap": 2}, "The option overlap is for videos in parts; give seconds with it"),
    ],
)
def test_lengths_that_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        _ = Job("a.png", "a.wav", "A.", "a.mp4", options).long


def test_a_long_prompt_may_have_many_phases_but_not_too_many_at_once():
    words = "A. " + " ".join(f"[{second}-{second + 1}s] Nods." for second in range(12))
    assert len(prompt_of_long(words, 25 * 12).phases) == 12
    with pytest.raises(InputError, match="reaches past the end"):
        prompt_of_long(words, 25 * 10)


def test_parts_of_16_frames_a_second_are_cut_at_the_same_seconds():
    long, prompt = LongVideo(3.0), prompt_of_long("A. [0-1s] Nods. [1-2s] Waves.", 48, 16)
    assert long.frames(None, 16) == 48 and long.frames(Sound(np.zeros((8000, 1), np.float32), 16000), 16) == 48
    parts = cut_parts(48, 25, 1, prompt, 16)
    assert [part.end for part in parts] == [16, 40, 48]  # after an action, then as long as can be
    told = cut_prompt(prompt, parts, 25, 16)
    assert [(phase.start, phase.end) for phase in told[0].phases] == [(0, 1), (1, 1.5625)]
    assert told[1].phases[-1].start == pytest.approx(1 / 16) and told[1].phases[-1].end == pytest.approx(17 / 16)


# ---- with a model


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long") / "model"
    clips = [RNG.integers(0, 256, (LENGTH, *SIZE, 3), np.uint8) for _ in range(4)]
    make_model(folder, clips, [PROMPT], preset=PRESETS["tiny"], size=SIZE, num_frames=LENGTH)
    loaded = ActAvatarPipeline.from_pretrained(folder)
    sampling = loaded.defaults.sampling.changed(steps=2, text_guidance=1.0, audio_guidance=1.0)
    return ActAvatarPipeline(
        loaded.transformer, loaded.encoders, dataclasses.replace(loaded.defaults, sampling=sampling)
    )


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """(portrait, speech) as files; the speech lasts 1.5 s."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(RNG.integers(0, 256, (*SIZE, 3), np.uint8)).save(folder / "face.png")
    encode(folder / "speech.wav", tones(44100, 1.5, 450, 1000), 44100)
    return str(folder / "face.png"), str(folder / "speech.wav")


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [1, 2])
def test_a_part_goes_on_from_the_last_frames_of_the_one_before(pipe, inputs, overlap, monkeypatch):
    began = []
    original = ActAvatarPipeline.__call__

    def watched(self, image, *rest, **options):
        began.append(image)
        return original(self, image, *rest, **options)

    monkeypatch.setattr(ActAvatarPipeline, "__call__", watched)
    videos = list(pipe.make_long(*inputs, PROMPT, 1.0 + 0.4, overlap=overlap))
    frames = np.concatenate([video.frames for video in videos])
    known = 4 * overlap - 3
    assert len(frames) == 35 and len(began) == len(videos) > 3
    done = 0
    for image, video in zip(began[1:], videos, strict=False):
        done += len(video.frames)
        np.testing.assert_array_equal(image, frames[done - known : done])
    short = original(pipe, inputs[0], Excerpt(load_sound(inputs[1]), 0, 25), "A square. [0-0.36s] Moves.").frames
    np.testing.assert_array_equal(frames[:LENGTH], short)
    whole = load_sound(inputs[1]).samples[: 35 * 44100 // 25]
    np.testing.assert_array_equal(np.concatenate([video.sound.samples for video in videos]), whole)


@pytest.mark.slow
def test_an_interrupted_video_goes_on_behind_its_finished_parts_and_is_the_same(pipe, inputs, tmp_path):
    whole, broken = str(tmp_path / "whole.mp4"), str(tmp_path / "broken.mp4")
    make_long_video(pipe, *inputs, PROMPT, whole, LongVideo(1.4))
    steps = []

    def stop(step):
        steps.append(step)
        if len(steps) == 2 * 2 + 1:  # in the middle of the third part
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_long_video(pipe, *inputs, PROMPT, broken, LongVideo(1.4), callback=stop)
    parts = tmp_path / "broken.mp4.parts"
    assert sorted(path.name for path in parts.glob("0*")) == ["0000.mp4", "0000.npz", "0001.mp4", "0001.npz"]
    with pytest.raises(InputError, match="has parts of a video of other inputs"):
        make_long_video(pipe, *inputs, PROMPT, broken, LongVideo(1.4), seed=3)
    steps.clear()
    make_long_video(pipe, *inputs, PROMPT, broken, LongVideo(1.4), callback=lambda step: steps.append(step))
    assert len(steps) == 2 * 3  # of five parts the last three
    assert not parts.exists()
    one, other = load_video(whole), load_video(broken)
    np.testing.assert_array_equal(one.frames, other.frames)
    assert len(one.frames) == 35 and probe(whole).frames == 35


@pytest.mark.slow
def test_joined_parts_are_shown_as_they_were_written(pipe, inputs, tmp_path, monkeypatch):
    """Pictures of the parts, not encoded anew; the recording at its own rate."""
    shown, original = [], Video.save

    def keep(self, path):
        original(self, path)
        shown.append(load_video(path).frames)

    monkeypatch.setattr(Video, "save", keep)
    out = tmp_path / "a" / "long.mp4"
    job = Job(*inputs, PROMPT, str(out), {"seconds": "speech", "seed": 3})
    assert run_jobs(pipe, [job]) == 0
    video = load_video(out)
    np.testing.assert_array_equal(video.frames, np.concatenate(shown))
    assert len(video.frames) == round(1.5 * 25)
    assert video.sound.rate == 44100 and len(video.sound.samples) == len(video.frames) * 44100 // 25
    recorded = load_sound(inputs[1]).samples[: len(video.sound.samples), 0]
    heard = video.sound.samples[: len(recorded), 0]
    assert np.corrcoef(recorded, heard)[0, 1] > 0.99


@pytest.mark.slow
def test_a_long_video_of_16_frames_a_second(pipe, inputs, tmp_path):
    words = "A square. [0-0.5s] Moves. [0.5-1s] Turns."
    out = tmp_path / "slow.mp4"
    make_long_video(pipe, *inputs, words, str(out), LongVideo(1.0), rate=16)
    info, sound = probe(out), load_sound(out)
    assert (info.frames, info.fps) == (16, 16) and len(sound.samples) / sound.rate == pytest.approx(1, abs=1024 / 44100)
    parts = list(pipe.make_long(*inputs, words, 1.0, rate=16))
    assert {part.fps for part in parts} == {16}
    heard = np.concatenate([part.sound.samples for part in parts])
    np.testing.assert_array_equal(heard, load_sound(inputs[1]).samples[:44100])
    with pytest.raises(InputError, match="reaches past the end of the clip at 1 s"):
        make_long_video(pipe, *inputs, "A. [0-1.5s] Moves.", str(out), LongVideo(1.0), rate=16)
