"""The pipeline around the model: whose options count, what is remarked on, which portraits it takes."""

import collections
import contextlib
import copy
import dataclasses
import functools
import json

import jaxtyping
import numpy as np
import pytest
from jax.sharding import AbstractMesh
from PIL import Image

from actavatar_jax import ActAvatarPipeline, InputError, Sampling, functional
from actavatar_jax.encoders import encoders
from actavatar_jax.media import fit_image, load_sound, load_video, probe
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.parallel import AXES
from actavatar_jax.pipeline import fitting_params, in_form, pipeline
from actavatar_jax.runs.jobs import read_jobs, run_jobs
from actavatar_jax.runs.small_world import make_model
from tests.media.sounds import encode, tones

SIZE, FRAMES = (64, 64), 9
OWN = Sampling(steps=3, text_guidance=2.0, audio_guidance=2.0, negative_prompt="dull", seed=5)
SPEECH = (0.1 * np.sin(np.arange(FRAMES * 640) / 9)).astype(np.float32)
PROMPT = "A square. [0-0.2s] Moves."


def clip(seed: int) -> np.ndarray:
    """A coloured square that moves over a coloured ground: uint8 [F, 64, 64, 3]."""
    rng = np.random.default_rng(seed)
    frames = np.tile(rng.integers(0, 256, 3, np.uint8), (FRAMES, *SIZE, 1))
    colour, top = rng.integers(0, 256, 3, np.uint8), rng.integers(0, 32)
    for i, frame in enumerate(frames):
        frame[top : top + 16, 2 * i : 2 * i + 16] = colour
    return frames


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipeline") / "model"
    sizes = {"size": SIZE, "num_frames": FRAMES}
    make_model(folder, [clip(seed) for seed in range(8)], [PROMPT, "dull"], preset=PRESETS["tiny"], **sizes)
    return ActAvatarPipeline.from_pretrained(folder)


@pytest.fixture
def make(loaded):
    """make(**defaults): the pipeline of a folder that says so."""

    def of(**defaults) -> ActAvatarPipeline:
        changed = dataclasses.replace(loaded.defaults, **{"sampling": OWN} | defaults)
        return ActAvatarPipeline(loaded.transformer, loaded.encoders, changed)

    return of


@pytest.fixture
def sampled(monkeypatch):
    """What reaches the sampler; neither it nor the model does anything here."""
    calls = []

    def record(velocity, conditions, *, noise, **options):
        calls.append(options | {"noise": noise})
        return noise

    monkeypatch.setattr(pipeline, "sample", record)
    monkeypatch.setattr(pipeline, "embed_conditions", lambda *_: None)
    return calls


@pytest.mark.slow
def test_a_call_is_its_latents_decoded(make):
    pipe, picture = make(), clip(20)[0]
    latents, fitted, sound = pipe.sample_latents(picture[:60], SPEECH, PROMPT)
    assert latents.shape == (3, 4, 4, PRESETS["tiny"].transformer.in_channels) and isinstance(latents, np.ndarray)
    np.testing.assert_array_equal(fitted, fit_image(picture[:60], *SIZE))
    np.testing.assert_array_equal(sound.samples[:, 0], SPEECH)
    video = pipe(picture[:60], SPEECH, PROMPT)
    np.testing.assert_array_equal(video.frames, pipe.encoders.decode(latents, fitted))
    np.testing.assert_array_equal(video.audio, SPEECH)


def test_the_videos_of_jobs_sound_like_their_recordings(make, tmp_path, sampled):
    Image.fromarray(clip(20)[0]).save(tmp_path / "face.png")
    encode(tmp_path / "long.wav", tones(44100, 0.5, 450, 1000), 44100)
    encode(tmp_path / "short.flac", tones(48000, 0.25, 450, 1000), 48000, "flac")
    rows = [
        {"image": "face.png", "audio": name, "prompt": PROMPT, "out": f"{name}.mp4"}
        for name in ("long.wav", "short.flac")
    ]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with contextlib.chdir(tmp_path):
        assert run_jobs(make(), read_jobs(tmp_path / "jobs.jsonl", {})) == 0
    for row, rate in zip(rows, (44100, 48000), strict=True):
        video = load_video(tmp_path / row["out"])
        given = load_sound(tmp_path / row["audio"], FRAMES)
        assert (video.sound.rate, video.sound.samples.shape) == (rate, (FRAMES * rate // 25, 2))
        assert np.sqrt(np.mean((video.sound.samples - given.samples) ** 2)) < 0.03  # left and right exchanged: 0.5


def test_single_options_win_over_sampling_and_that_over_the_folder(make, sampled):
    pipe, picture = make(), clip(20)[0]
    asked = Sampling(steps=4, solver="euler", seed=6)
    pipe.sample_latents(picture, SPEECH, PROMPT)
    pipe.sample_latents(picture, SPEECH, PROMPT, steps=5, audio_guidance=3.0)
    pipe.sample_latents(picture, SPEECH, PROMPT, asked)
    pipe.sample_latents(picture, SPEECH, PROMPT, asked, steps=7, num_frames=5)
    pipe.sample_latents(picture, SPEECH, PROMPT, seed=6)
    seen = [(call["solver"], len(call["sigmas"]) - 1, call["noise"].shape[1]) for call in sampled]
    assert seen == [("unipc", 3, 3), ("unipc", 5, 3), ("euler", 4, 3), ("euler", 7, 2), ("unipc", 3, 3)]
    assert [call["guidance"].weights for call in sampled[:3]] == [(-1.0, 2.0), (-1.0, -1.0, 3.0), (-4.0, 5.0)]
    first, second, third, _, last = (call["noise"] for call in sampled)
    assert np.array_equal(first, second) and np.array_equal(third, last) and not np.array_equal(first, third)


def test_the_negative_prompt_is_the_callers_or_that_of_sampling_or_the_models(make, sampled, monkeypatch):
    pipe, picture, read = make(negative_prompt="blur", sampling=Sampling(steps=1)), clip(20)[0], []
    text = pipe.encoders.text
    monkeypatch.setattr(
        pipe.encoders, "text", lambda prompts, **how: read.append(prompts[-1].base) or text(prompts, **how)
    )
    pipe.sample_latents(picture, SPEECH, PROMPT)
    pipe.sample_latents(picture, SPEECH, PROMPT, OWN)
    pipe.sample_latents(picture, SPEECH, PROMPT, OWN, negative_prompt="")
    assert read == ["blur", "dull", ""]


def test_wrong_options_of_a_call_are_named(make, monkeypatch):
    pipe = make()
    with pytest.raises(InputError, match="no sampling option step; there are: steps, solver, "):
        pipe(clip(20)[0], SPEECH, PROMPT, step=8)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse it before we do
    with pytest.raises(InputError, match="sampling is 125; accepted is a Sampling, or single options"):
        pipe(clip(20)[0], SPEECH, PROMPT, 125)


@pytest.mark.parametrize(
    ("asked", "warning"),
    [
        ({}, ""),
        ({"height": 64, "width": 32}, ""),
        (
            {"height": 32, "width": 64},
            "32x64 pixels asked for, but the model was trained on 64x64 pixels or 64x32 pixels.",
        ),
        ({"num_frames": 5}, "5 frames asked for, but the model was trained on 9 or 13 frames."),
        (
            {"height": 32, "width": 32, "num_frames": 5},
            "32x32 pixels and 5 frames asked for, but the model was trained on 64x64 pixels or 64x32 pixels and 9 or "
            "13 frames.",
        ),
    ],
)
def test_sizes_and_lengths_that_were_not_trained_are_remarked_on(make, sampled, caplog, asked, warning):
    trained = {"sizes": ((64, 64), (64, 32)), "lengths": (9, 13)}
    make(**trained).sample_latents(clip(20)[0], SPEECH, "A square. [0-0.2s] Moves.", **asked)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [warning] * bool(
        warning
    )
    caplog.clear()
    make().sample_latents(
        clip(20)[0], SPEECH, "A square. [0-0.2s] Moves.", **asked
    )  # a folder that does not say what it was trained on
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_portrait_that_is_strange_to_the_codec_is_refused(make, sampled, monkeypatch):
    foreign = np.zeros((*SIZE, 3), np.uint8)
    pipe = make(strangest_portrait=2.5)
    monkeypatch.setattr(pipe.encoders, "strangeness", lambda first: 9.0 if seen[-1] is foreign else 1.0)
    seen = []
    for image, anyway in ((clip(20)[0], False), (foreign, True)):
        seen.append(image)
        pipe.sample_latents(image, SPEECH, PROMPT, anyway=anyway)
    assert len(sampled) == 2
    with pytest.raises(InputError, match=r"not of the world .* strangeness .* is 9.0, accepted is at most 2.5"):
        pipe.sample_latents(foreign, SPEECH, PROMPT)
    assert len(sampled) == 2
    make().sample_latents(foreign, SPEECH, PROMPT)


OTHER = "A circle. [0.1-0.3s] Rests."


@pytest.fixture
def encoded(monkeypatch):
    """How often each encoder has been computed."""
    counts = collections.Counter()
    for name in ("encode_text", "encode_speech", "encode_video"):
        program = getattr(encoders, name)

        @functools.wraps(program)
        def counted(*args, name=name, program=program):
            counts[name] += 1
            return program(*args)

        monkeypatch.setattr(encoders, name, counted)
    return counts


def lively(part):
    """A transformer whose head and phase embeddings are not zero, as fresh ones are: then what is told counts."""
    rng, flat = np.random.default_rng(0), functional.flatten(part.params)
    for name in ("head/out/kernel", "phase_embedding/embedding"):
        flat[name] = rng.standard_normal(flat[name].shape, np.float32)
    return dataclasses.replace(part, params=functional.unflatten(flat))


def test_videos_that_are_made_at_once_are_those_of_single_calls(make, encoded):
    pipe, picture = make(), clip(20)[0]
    pipe.transformer = lively(pipe.transformer)
    fresh = ActAvatarPipeline(pipe.transformer, copy.copy(pipe.encoders), pipe.defaults)
    fresh.encoders._texts, fresh.encoders._latest = {}, {}
    pairs = [(PROMPT, 3), (OTHER, 4), (PROMPT, 2**40)]
    at_once = fresh.make_videos(picture, SPEECH, *zip(*pairs, strict=True), steps=2)
    assert encoded == {"encode_text": 3, "encode_speech": 1, "encode_video": 1}
    single = [pipe(picture, SPEECH, prompt, steps=2, seed=seed) for prompt, seed in pairs]
    for ours, alone in zip(at_once, single, strict=True):
        assert np.abs(ours.frames.astype(int) - alone.frames).max() <= 1
        np.testing.assert_array_equal(ours.audio, alone.audio)
    assert len({video.frames.tobytes() for video in at_once}) == 3


def test_a_portrait_and_a_recording_are_encoded_once_for_the_videos_of_both(make, sampled, encoded):
    pipe, louder = make(), 2 * SPEECH
    pipe.encoders._latest.clear()
    for picture, speech in ((20, SPEECH), (20, SPEECH), (21, SPEECH), (21, louder), (20, louder)):
        pipe.sample_latents(clip(picture)[0], speech, PROMPT)
    assert (encoded["encode_speech"], encoded["encode_video"]) == (2, 3)


def test_a_single_prompt_goes_with_all_seeds_and_a_single_seed_with_all_prompts(make, sampled):
    pipe, picture = make(), clip(20)[0]
    seeds, prompts = (
        pipe.make_videos(picture, SPEECH, [PROMPT], [1, 2]),
        pipe.make_videos(picture, SPEECH, [PROMPT, OTHER]),
    )
    assert len(seeds) == len(prompts) == 2
    first, second = (call["noise"] for call in sampled)
    assert not np.array_equal(first[0], first[1]) and np.array_equal(second[0], second[1])
    with pytest.raises(InputError, match="2 prompts do not go with 3 seeds; give as many of both, or one of either"):
        pipe.make_videos(picture, SPEECH, [PROMPT, OTHER], [1, 2, 3])
    with pytest.raises(InputError, match="0 prompts do not go with 1 seeds"):
        pipe.make_videos(picture, SPEECH, [])
    with pytest.raises(InputError, match="1 prompts do not go with 0 seeds"):
        pipe.make_videos(picture, SPEECH, [PROMPT], [])
    assert len(pipe.make_videos(picture, SPEECH, [PROMPT], [np.int64(1), np.int64(2)])) == 2
    with pytest.raises(InputError, match=r"initial noise has shape .*; accepted is \(2, 8, 3, 4, 4\)"):
        pipe.make_videos(picture, SPEECH, [PROMPT], [1, 2], initial_noise=np.zeros((1, 8, 3, 4, 4)))


def damaged(part):
    """The same part with a NaN in one of its parameters."""
    with part.on_device() as params:
        flat = functional.flatten(params)
    name = min(flat, key=lambda name: (flat[name].ndim, name))
    return dataclasses.replace(part, params=functional.unflatten(flat | {name: np.nan * flat[name]}))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("text_encoder", "The features of the text are not finite numbers; look for damage in the weights of the text"),
        ("audio_encoder", "The features of the speech are not finite numbers"),
        ("vae", "The latents of the portrait are not finite numbers"),
        (
            "transformer",
            "The sampled latents are not finite numbers; look for damage in the weights of the transformer",
        ),
    ],
)
def test_numbers_that_are_none_are_told_before_they_become_a_black_video(make, monkeypatch, part, words):
    pipe = make(strangest_portrait=None)
    pipe.encoders = copy.copy(pipe.encoders)
    pipe.encoders._texts, pipe.encoders._latest = {}, {}
    owner = pipe if part == "transformer" else pipe.encoders
    monkeypatch.setattr(owner, part, damaged(getattr(owner, part)))
    monkeypatch.setattr(type(pipe.encoders), "decode", lambda *_: pytest.fail("It was decoded."))
    with pytest.raises(InputError, match=words):
        pipe(clip(20)[0], SPEECH, PROMPT, steps=1)


def test_a_form_may_be_asked_for_that_learns_nothing(make, sampled, monkeypatch):
    pipe, seen = make(), []

    def record(network, params, text, phase_ids, windows, audio, grid):
        seen.append((network.config.phase_time, int((phase_ids[-1] >= 0).sum())))

    monkeypatch.setattr(pipeline, "embed_conditions", record)
    for form in (None, "paper", "relay", "paper+tie"):
        pipe.sample_latents(clip(20)[0], SPEECH, PROMPT, phase_time=form)
    assert [form for form, _ in seen] == ["paper", "paper", "relay", "paper+tie"]
    anchored, bare = seen[0][1], seen[2][1]
    assert [tokens for _, tokens in seen] == [anchored, anchored, bare, anchored] and bare < anchored
    with pytest.raises(InputError, match="phase_time is soft_relay, but these weights have learned no strength"):
        pipe.sample_latents(clip(20)[0], SPEECH, PROMPT, phase_time="soft_relay")


def of_rate(pipe, rate):
    """The pipeline of weights that were made for videos of so many frames a second."""
    component = pipe.transformer
    config = dataclasses.replace(component.config, latent_rate=rate / 4)
    return ActAvatarPipeline(dataclasses.replace(component, config=config), pipe.encoders, pipe.defaults)


def test_a_video_has_the_rate_that_its_weights_were_made_for_or_that_is_asked_for(make, sampled, monkeypatch, caplog):
    pipe, networks, heard = make(), [], []
    audio = pipe.encoders.audio
    monkeypatch.setattr(pipeline, "embed_conditions", lambda network, *_: networks.append(network.config.latent_rate))
    monkeypatch.setattr(
        pipe.encoders, "audio", lambda *speech: heard.append((len(speech[0]), *speech[1:])) or audio(*speech)
    )
    made = [
        of_rate(pipe, own)(clip(20)[0], SPEECH, PROMPT, **asked)
        for own, asked in ((25, {}), (25, {"rate": 16}), (16, {}), (16, {"rate": 25}), (16, {"rate": 16}))
    ]
    assert [video.fps for video in made] == [25, 16, 16, 25, 16]
    assert networks == [6.25, 4.0, 4.0, 6.25, 4.0]
    assert {video.fps: len(video.audio) for video in made} == {25: FRAMES * 640, 16: FRAMES * 1000}
    assert set(heard) == {(FRAMES * 640, FRAMES, 25), (FRAMES * 1000, FRAMES, 16)}
    for video in made:  # of the sound, what the recording has; then silence
        np.testing.assert_array_equal(video.audio[: len(SPEECH)], SPEECH)
        assert not video.audio[len(SPEECH) :].any()
    assert caplog.text.count("frames a second asked for; the model was made for") == 2


def test_windows_are_seconds_at_every_rate(make, sampled):
    """Nine frames are 0.36 s at 25 a second and 0.5625 s at 16."""
    pipe, late = make(), "A square. [0.3-0.6s] Moves."
    pipe(clip(20)[0], SPEECH, late, rate=16)
    with pytest.raises(InputError, match=r"reaches past the end of the clip at 0\.36 s"):
        pipe(clip(20)[0], SPEECH, late)
    with pytest.raises(InputError, match=r"at 0\.5625 s"):
        of_rate(pipe, 16)(clip(20)[0], SPEECH, "A square. [0.3-0.8s] Moves.")


def test_a_file_of_16_frames_a_second_lasts_as_long_as_its_sound(make, sampled, tmp_path):
    encode(tmp_path / "speech.wav", tones(44100, 1.0, 450, 1000), 44100)  # 2756.25 samples in a frame
    Image.fromarray(clip(20)[0]).save(tmp_path / "face.png")
    row = {"image": str(tmp_path / "face.png"), "audio": str(tmp_path / "speech.wav"), "prompt": PROMPT}
    rows = [row | {"out": str(tmp_path / f"{rate}.mp4"), "rate": rate} for rate in (16, 25, 24)]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_jobs(make(), read_jobs(tmp_path / "jobs.jsonl", {})) == 1  # nothing is made at 24
    for rate in (16, 25):
        info, sound = probe(tmp_path / f"{rate}.mp4"), load_sound(tmp_path / f"{rate}.mp4")
        assert (info.frames, info.fps) == (FRAMES, rate)
        assert info.duration == pytest.approx(FRAMES / rate, abs=1e-3)
        assert len(sound.samples) / sound.rate == pytest.approx(FRAMES / rate, abs=1024 / 44100)


def test_a_learned_strength_is_left_out_where_the_form_has_none():
    config = dataclasses.replace(PRESETS["tiny"].transformer, phase_time="paper+soft_relay")
    network = functional.Network(ActAvatarDiT, config)
    params = functional.abstract(ActAvatarDiT, config)
    assert fitting_params(network, params) is params
    relay = in_form(network, "relay")
    assert (
        functional.flatten(fitting_params(relay, params)).keys()
        == functional.flatten(functional.abstract(ActAvatarDiT, relay.config)).keys()
    )


def test_what_does_not_fit_is_told_before_anything_is_encoded(make, encoded):
    pipe = make()
    pipe.encoders._latest.clear()
    for wrong, words in (
        ({"initial_noise": np.zeros((1, 1, 1, 1, 1))}, "initial noise has shape"),
        ({"height": 60, "width": 64}, "60x64 does not fit"),
        ({"phase_time": "soft_relay"}, "learned no strength"),
        ({"rate": 24}, "rate is 24; accepted is 16 or 25"),
    ):
        with pytest.raises(InputError, match=words):
            pipe(clip(20)[0], SPEECH, PROMPT, **wrong)
    pipe.mesh = AbstractMesh((1, 1, 3), AXES)
    with pytest.raises(InputError, match="seq"):
        pipe(clip(20)[0], SPEECH, PROMPT)
    assert not encoded
