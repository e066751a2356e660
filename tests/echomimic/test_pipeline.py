"""The pipeline against a plain loop over its networks, and what it tells them in each chunk."""

import copy
import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from actavatar_jax import functional
from actavatar_jax.diffusion import sample_noise
from actavatar_jax.diffusion.sampler import _integrate
from actavatar_jax.echomimic import (
    DEFAULTS,
    FILES,
    EchoMimicConfig,
    EchoMimicDiT,
    EchoMimicPipeline,
    inputs,
    write_file,
)
from actavatar_jax.echomimic.chunks import blend_windows, cut_windows, window_fades
from actavatar_jax.echomimic.colours import match_colours
from actavatar_jax.echomimic.encoders import PARTS
from actavatar_jax.echomimic.files import MATRICES
from actavatar_jax.echomimic.levels import plan_guidance
from actavatar_jax.echomimic.programs import embed, embed_windows, velocity_function, windows_function
from actavatar_jax.echomimic.tasks import face_tokens, known_channels, known_frames
from actavatar_jax.encoders.pictures import decode_video
from actavatar_jax.errors import InputError
from actavatar_jax.functional import Network
from actavatar_jax.functional.kernels import Quantized
from actavatar_jax.models import Execution
from tests.echomimic.small import relative_error
from tests.echomimic.tiny import CONFIGS, TEXTS, picture, pipeline, speech

pytestmark = pytest.mark.usefixtures("quick_compilation")

PICTURE, FACE = picture(0), (10, 40, 8, 32)
PROMPT, NEGATIVE = TEXTS
FEW = {"steps": 3, "negative_prompt": NEGATIVE, "match_colours": False}


@jax.jit
def preview_velocity(params, latents, time, given):
    model = functional.bind(EchoMimicDiT, CONFIGS["preview"], params)
    return model(latents, time, model.condition(**given))


@jax.jit
def flash_velocity(params, latents, time, given):
    model = functional.bind(EchoMimicDiT, CONFIGS["flash"], params)
    return model(latents, time, model.condition(**given))


def told(pipe, frames):
    """What all branches are told, and text and speech of each: text, picture, speech, known."""
    text, negative = (
        inputs.encode_prompt(one, pipe.encoders.tokenizer, pipe.encoders.text_encoder, 24)[0][None] for one in TEXTS
    )
    features = inputs.encode_audio(speech(frames), frames, pipe.encoders.audio_encoder, pipe.variant)
    rate = inputs.RATES[pipe.variant]
    features = np.concatenate([features, features[-1:]])[None, : rate * frames]  # one of `preview` is missing
    known = known_channels(known_frames(frames, 48, 32, {0: PICTURE}), pipe.encoders.vae)[None]
    same = {"image": inputs.encode_picture(PICTURE, pipe.encoders.image_encoder)[None], "known": known}
    return text, negative, features, same


def noise_of(seed, shape):
    return np.asarray(sample_noise(seed, np.arange(1), shape))


@pytest.mark.slow
def test_preview_is_a_plain_loop():
    """Three branches, scales that decay, a negative prompt that grows, Euler's levels, speech in the face."""
    pipe, frames = pipeline("preview"), 9
    got = pipe(PICTURE, speech(frames), PROMPT, face=FACE, **FEW)
    text, negative, features, same = told(pipe, frames)
    same["face"] = face_tokens(FACE, (48, 32), (48, 32), 8)[None]
    end = 0.00498008  # both ends and the middle of Euler's levels, warped
    sigmas = [5 * u / (1 + 4 * u) for u in (1.0, (1 + end) / 2, end)] + [0.0]
    x = noise_of(43, (3, 12, 8, 4))
    for i in range(3):
        factor = 0.5 + 0.25 * (1 - np.cos(np.pi * ((3 - i) / 3) ** 5))
        time = np.full((1, 3), 1000 * sigmas[i], np.float32)
        none, quiet, both = (
            preview_velocity(pipe.transformer.params, x, time, {"text": t, "audio": a, **same})
            for t, a in (
                (negative * np.float32(1.5 ** (i + 1)), np.zeros_like(features)),
                (text, np.zeros_like(features)),
                (text, features),
            )
        )
        x = x + (sigmas[i + 1] - sigmas[i]) * (none + 4.0 * factor * (quiet - none) + 2.9 * factor * (both - quiet))
    want = decode_video(pipe.encoders.vae.network, pipe.encoders.vae.params, np.asarray(x)[0])
    assert np.abs(got.frames.astype(int) - np.asarray(want)).max() <= 1
    assert got.frames.std() > 5, "nothing to see"
    assert got.frames.shape == (9, 48, 32, 3) and len(got.audio) == 9 * 640 and got.fps == 25


@pytest.mark.slow
def test_flash_is_a_plain_loop():
    pipe, frames = pipeline("flash"), 9
    got = pipe(PICTURE, speech(frames), PROMPT, solver="euler", steps=2, match_colours=False)
    text, _, features, same = told(pipe, frames)
    end = 0.00498008
    sigmas = [1.0, 5 * end / (1 + 4 * end), 0.0]
    x = noise_of(43, (3, 12, 8, 4))
    for i in range(2):
        time = np.full((1, 3), 1000 * sigmas[i], np.float32)
        quiet, both = (
            flash_velocity(pipe.transformer.params, x, time, {"text": text, "audio": a, **same})
            for a in (np.zeros_like(features), features)
        )
        x = x + (sigmas[i + 1] - sigmas[i]) * (quiet + 3.0 * (both - quiet))
    want = decode_video(pipe.encoders.vae.network, pipe.encoders.vae.params, np.asarray(x)[0])
    assert np.abs(got.frames.astype(int) - np.asarray(want)).max() <= 1


@pytest.mark.slow
def test_same_program_for_another_video():
    pipe = pipeline("preview")
    first = pipe(PICTURE, speech(9), PROMPT, face=FACE, **FEW)
    before = _integrate._cache_size()
    noise = np.moveaxis(noise_of(43, (3, 12, 8, 4)), -1, 1)
    again = pipe(PICTURE, speech(9), PROMPT, face=FACE, initial_noise=noise, **FEW)
    np.testing.assert_array_equal(again.frames, first.frames)
    other = pipe(picture(3), speech(9), NEGATIVE, face=(0, 20, 0, 20), seed=2, text_guidance=3.0, **FEW)
    assert _integrate._cache_size() == before
    assert np.any(other.frames != first.frames)


@pytest.mark.slow
def test_windows_blend_the_velocities_of_each():
    """Each is told the first one's known frames, and hears its own speech."""
    pipe, rng = pipeline("preview"), np.random.default_rng(0)
    network, params, latents = pipe.transformer.network, pipe.transformer.params, 51
    text, image = (rng.standard_normal((2, 24, 12)), rng.standard_normal((5, 20)))
    known, features = rng.standard_normal((latents, 2, 4, 8)), rng.standard_normal((2, 8 * latents, 6))
    text, image, known, features = (x.astype(np.float32) for x in (text, image, known, features))
    windows = cut_windows(latents)
    audios = [features[:, 8 * a : 8 * b] for a, b in windows[:-1]] + [features[:, 8 * windows[-1][0] : -6]]
    x = rng.standard_normal((1, latents, 2, 4, 4)).astype(np.float32)
    time, now = np.full((1, latents), 700, np.float32), (np.int32([1, 0]), np.float32([-1.5, 2.5]))
    parts = [
        jax.jit(velocity_function(network))(
            x[:, a:b],
            time[:, a:b],
            (params, embed(network, params, text, image, audio, known[: b - a], None)),
            now,
        )
        for (a, b), audio in zip(windows, audios, strict=True)
    ]
    fade = window_fades(2)[1]
    conditions = embed_windows(network, params, text, image, audios, known, None)
    got = jax.jit(windows_function(network))(x, time, (params, conditions), (*now, fade))
    assert got.shape == x.shape
    assert relative_error(got, np.asarray(blend_windows(windows, parts, fade))) < 1e-5


@pytest.mark.slow
def test_one_window_is_the_whole_video():
    """Whose negative prompt is not multiplied; the public code makes a grey video, or never ends."""
    pipe = pipeline("preview")
    plain, windows = (
        pipe(PICTURE, speech(9), PROMPT, face=FACE, **FEW, **options)
        for options in ({"negative_scale": 1.0}, {"windows": True})
    )
    assert np.abs(windows.frames.astype(int) - plain.frames).max() <= 1
    assert plain.frames.std() > 5


@pytest.mark.slow
def test_windows_hear_the_frames_that_follow(monkeypatch):
    pipe, heard = pipeline("preview"), []
    told_of = inputs.features_of

    def listen(features, begin, *rest):
        heard.append((begin, told_of(features, begin, *rest).shape[0]))
        return told_of(features, begin, *rest)

    monkeypatch.setattr(inputs, "features_of", listen)
    video = pipe(PICTURE[:32], speech(119), PROMPT, face="everywhere", windows=True, **FEW | {"steps": 1})
    assert video.frames.shape == (119, 32, 32, 3)
    assert heard == [(0, 8 * 29), (4 * 21, 8 * 10 - 6)]  # of 31 latent frames


@dataclasses.dataclass(frozen=True, eq=False)
class Recorder(EchoMimicPipeline):
    """Makes flat frames in the place of video, and remembers what it was to make."""

    seen: list = dataclasses.field(default_factory=list)

    def _make(self, part, begin, told, s, noise, callback):
        self.seen.append((part, begin, noise, told))
        return np.full(part.frames.shape, 100 + 10 * len(self.seen), np.uint8)


@pytest.fixture(params=["preview", "flash"])
def recorder(request, monkeypatch):
    """Without any network."""

    def encode_prompt(text, *_):
        return np.full((24, 12), len(str(text)), np.float32), np.zeros(24, np.int32)

    def encode_picture(image, *_):
        return np.full((5, 20), -1 if image is None else image.mean(), np.float32)

    monkeypatch.setattr(inputs, "encode_prompt", encode_prompt)
    monkeypatch.setattr(inputs, "encode_picture", encode_picture)
    monkeypatch.setattr(inputs, "encode_audio", lambda samples, *_: np.zeros((len(samples) // 320 - 1, 6), np.float32))
    pipe = pipeline(request.param)
    return Recorder(*(getattr(pipe, field.name) for field in dataclasses.fields(EchoMimicPipeline)))


def known(recorder):
    """Of each chunk the frames that are known as a whole, and whether others are in part."""
    return [np.flatnonzero(part.known.all((1, 2))).tolist() for part, *_ in recorder.seen]


def face_of(recorder):
    return {"face": FACE} if recorder.variant == "preview" else {}


SHORT = {"chunk_frames": 13, "overlap": 3, "match_colours": False}


def test_chunks_go_on_from_the_frames_before(recorder):
    video = recorder(PICTURE, speech(24), PROMPT, **SHORT, **face_of(recorder))
    assert known(recorder) == [[0], [0, 1, 2], [0, 1, 2]]
    assert [(begin, len(part.known)) for part, begin, *_ in recorder.seen] == [(0, 13), (10, 13), (20, 5)]
    noises = [noise for _, _, noise, *_ in recorder.seen]
    assert [noise.shape for noise in noises] == [(1, n, 12, 8, 4) for n in (4, 4, 2)]
    assert np.any(noises[0] != noises[1])
    np.testing.assert_array_equal(recorder.seen[0][0].frames[0], PICTURE)
    assert (recorder.seen[1][0].frames[:3] == 110).all() and (recorder.seen[2][0].frames[:3] == 120).all()
    assert video.frames.shape == (24, 48, 32, 3) and len(video.audio) == 24 * 640
    assert video.frames[:, 0, 0, 0].tolist() == [110] * 11 + [115] + [120] * 9 + [125] + [130] * 2
    assert len({id(told) for *_, told in recorder.seen}) == 1


def test_windows_are_those_of_the_video_in_every_chunk(recorder):
    """A phase of the second half: in the first chunk its tokens are shut out, in the last one they are heard."""
    prompt = "A person talks. [0.5-0.96s] Waves."
    recorder(PICTURE, speech(24), prompt, **SHORT, **face_of(recorder))
    told = recorder.seen[0][3]
    np.testing.assert_allclose(told.windows[0], [0.5, 0.96])
    told = dataclasses.replace(told, phase_ids=np.stack([np.repeat(np.int32([1, 0]), 12)] * len(told.text)))
    first, last = (np.asarray(told.penalty(begin, frames)) for begin, frames in ((0, 4), (20, 2)))
    assert first.shape == (len(told.text), 4, 24) and last.shape == (len(told.text), 2, 24)
    assert (first[:, 0, :12] > 7).all() and not first[..., 12:].any() and not last[:, 0].any()  # at 0 and 0.8 s


def test_texts_without_windows_are_taken_as_they_are(recorder):
    for phase_time, prompt in (("relay", "A  person [smiling] talks."), ("none", "Talks. [0-1s] Waves.")):
        recorder(PICTURE, speech(9), prompt, phase_time=phase_time, **SHORT, **face_of(recorder))
        told = recorder.seen[-1][3]
        assert told.windows is None and told.penalty(0, 3) is None
        assert len(prompt) in told.text[:, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("windows", [False, True])
def test_an_action_outside_of_its_window_is_not_heard(windows):
    """What is said of the second half changes nothing in the text attention of the first latent frame."""
    pipe = pipeline("preview")
    network, params = pipe.transformer.network, pipe.transformer.params
    frames, rng = 9, np.random.default_rng(0)
    text = rng.normal(size=(1, 24, 12)).astype(np.float32)
    others = text.copy()
    others[:, 12:] = rng.normal(size=(12, 12))
    image = rng.normal(size=(5, 20)).astype(np.float32)
    seen = known_channels(known_frames(frames, 48, 32, {0: PICTURE}), pipe.encoders.vae)
    audio = rng.normal(size=(1, 2 * frames, 6)).astype(np.float32)
    penalty = np.zeros((1, 3, 24), np.float32)
    penalty[:, 0, 12:] = 1e4

    def first(stacked):
        return jax.tree.map(lambda leaf: leaf[0], stacked)

    def heard(text, penalty):
        if windows:
            _, conditions = embed_windows(network, params, text, image, [audio], seen, None, penalty)
        else:
            conditions = embed(network, params, text, image, audio, seen, None, penalty)
        model = network.bind(params)
        block = first(model.blocks)
        keys_values = block.keys_values(conditions.tokens) if windows else first(conditions.keys_values)
        x = jnp.asarray(np.random.default_rng(1).normal(size=(1, 3, 24, 72)), jnp.float32)
        return np.asarray(block.attend_sources(x, keys_values, conditions))

    free, held = (heard(text, p) - heard(others, p) for p in (None, penalty))
    assert np.abs(free[:, 0]).max() > 1e-3 and np.abs(held[:, 0]).max() < 1e-6
    np.testing.assert_allclose(held[:, 1:], free[:, 1:], atol=1e-5)


def test_dropped_tails_are_left_out_of_the_sound_too(recorder):
    video = recorder(PICTURE, speech(24), PROMPT, chunk_tail="drop", **SHORT, **face_of(recorder))
    assert len(video.frames) == 19 and len(video.audio) == 19 * 640


def test_first_and_last(recorder):
    last = picture(1, 96, 64)
    recorder(PICTURE, speech(15), PROMPT, task="first_and_last", last_image=last, **SHORT, **face_of(recorder))
    assert known(recorder) == [[0], [0, 1, 2, 4]]
    np.testing.assert_array_equal(recorder.seen[1][0].frames[4], inputs.resize(last, 48, 32))


def test_first_and_last_where_the_tail_is_dropped(recorder):
    """The last frame is the last one that is made."""
    options = {"task": "first_and_last", "last_image": picture(1), "chunk_tail": "drop"}
    video = recorder(PICTURE, speech(24), PROMPT, **options, **SHORT, **face_of(recorder))
    assert len(video.frames) == 19 and known(recorder)[-1] == [0, 1, 2, 8]


def test_continuation(recorder):
    start = np.stack([picture(seed) for seed in range(4)])
    recorder(None, speech(9), PROMPT, task="continuation", video=start, **SHORT, **face_of(recorder))
    assert known(recorder) == [[0, 1, 2, 3]]
    np.testing.assert_array_equal(recorder.seen[0][0].frames[:4], start)
    assert recorder.seen[0][3].picture.max() == pytest.approx(start[0].mean())


def test_mouths_are_replaced_in_every_chunk(recorder):
    video = np.stack([picture(seed) for seed in range(20)])
    boxes = [(20, 30, i, i + 8) for i in range(20)]
    options = {"task": "mouth", "video": video, "mouth": boxes}
    made = recorder(PICTURE, speech(18), PROMPT, **options, **SHORT, **face_of(recorder))
    assert known(recorder) == [[], [0, 1, 2]]
    part = recorder.seen[1][0]
    assert len(part.known) == 9 and not part.known[8].any(), "beyond the end nothing is known"
    region = ~part.known[5]
    assert region[20:30, 15:23].all() and region.sum() == 80
    np.testing.assert_array_equal(part.frames[5], video[15])
    assert len(made.frames) == 18


def test_known_frames_keep_their_colours_around_a_mouth(recorder):
    options = {**SHORT, "match_colours": True, "task": "mouth", "mouth": (20, 30, 0, 8)}
    made = recorder(PICTURE, speech(18), PROMPT, video=np.stack([PICTURE] * 18), **options, **face_of(recorder))
    assert np.ptp(made.frames) == 10


def test_text_and_audio_alone(recorder, caplog):
    with caplog.at_level("INFO", "actavatar_jax"):
        recorder(None, speech(5), PROMPT, task="text_and_audio", height=32, width=16, **SHORT)
    part, _, _, told = recorder.seen[0]
    assert not part.known.any() and part.known.shape == (5, 32, 16)
    assert (told.picture == -1).all() and told.face is None
    assert ("speech is heard everywhere" in caplog.text) == (recorder.variant == "preview")


def test_negative_prompt_of_each_level(recorder):
    recorder(PICTURE, speech(5), "x" * 7, negative_prompt="y" * 4, steps=5, **SHORT, **face_of(recorder))
    text = recorder.seen[0][3].text[:, 0, 0].tolist()
    assert text == ([6, 7, 7, 9, 13.5] if recorder.variant == "preview" else [7, 7])


def test_riflex_is_for_the_whole_video(recorder):
    for frames in (13, 14, 40):
        recorder(PICTURE, speech(frames), PROMPT, riflex=True, **SHORT, **face_of(recorder))
    recorder(PICTURE, speech(13), PROMPT, **SHORT, **face_of(recorder))
    told = [one.riflex for part, begin, _, one in recorder.seen if begin == 0]
    assert told == [4, 5, 11, None] and len(recorder.seen) > 4, "in latent frames, also where there are chunks"


def test_the_text_encoder_comes_to_the_device_once_for_both_texts(recorder):
    read, encoder = [], recorder.encoders.text_encoder
    waiting = dataclasses.replace(encoder, params=None, read=lambda place: read.append(1) or {"w": np.zeros(1)})
    encoders = copy.copy(recorder.encoders)
    encoders.text_encoder = waiting
    dataclasses.replace(recorder, encoders=encoders)(PICTURE, speech(5), PROMPT, **SHORT, **face_of(recorder))
    assert read == [1]


def test_a_mesh_that_does_not_divide_is_told_before_anything_is_encoded(recorder, monkeypatch):
    monkeypatch.setattr(inputs, "encode_prompt", None)
    mesh = jax.sharding.AbstractMesh((1, 1, 2), ("data", "fsdp", "seq"))
    with pytest.raises(InputError, match="3 attention heads do not divide by seq = 2"):
        dataclasses.replace(recorder, mesh=mesh)(PICTURE, speech(5), PROMPT, **SHORT, **face_of(recorder))


def test_colours_are_held(recorder):
    wide = {**SHORT, "match_colours": True}
    video = recorder(PICTURE, speech(24), PROMPT, **wide, **face_of(recorder))
    assert np.abs(video.frames.astype(int) - 110).max() <= 1
    np.testing.assert_array_equal(video.frames, match_colours(video.frames))


def test_faces_are_never_left_out_without_a_word():
    pipe = Recorder(*(getattr(pipeline("preview"), field.name) for field in dataclasses.fields(EchoMimicPipeline)))
    for face in (None, lambda image: None):
        with pytest.raises(InputError, match="No face is known in the picture; give face as"):
            pipe(PICTURE, speech(5), PROMPT, face=face)


def test_faces_are_found_or_everywhere(recorder):
    if recorder.variant == "flash":
        with pytest.raises(InputError, match="flash hears speech everywhere"):
            recorder(PICTURE, speech(5), PROMPT, face=FACE)
        return
    for face in (FACE, lambda image: FACE, "everywhere"):
        recorder(PICTURE, speech(5), PROMPT, face=face)
    given, found, everywhere = (told.face for *_, told in recorder.seen)
    np.testing.assert_array_equal(given, found)
    np.testing.assert_array_equal(given, face_tokens(FACE, (48, 32), (48, 32), 8))
    assert everywhere is None


VIDEO = np.stack([PICTURE] * 9)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"task": "dance"}, "no task 'dance'; choose one of first_frame"),
        ({"image": None}, "task first_frame needs image"),
        ({"task": "mouth", "image": None}, "task mouth needs mouth and video"),
        ({"last_image": PICTURE}, "task first_frame has no use for last_image"),
        ({"task": "mouth", "video": VIDEO[:8], "mouth": FACE}, "video has 8 frames, but the speech lasts 9"),
        ({"task": "mouth", "video": VIDEO, "mouth": [FACE] * 4}, "4 boxes of the mouth; accepted is one"),
        ({"task": "mouth", "video": VIDEO, "mouth": (1, 2)}, r"frame 0 is \(1, 2\)"),
        ({"task": "continuation", "video": VIDEO}, "9 frames or more; accepted are fewer than the 9"),
        ({"task": "continuation", "video": VIDEO[0]}, "The video is none; accepted is a path"),
        ({"task": "continuation", "video": VIDEO[:0]}, "has no frames"),
        ({"task": "text_and_audio", "image": None}, "give height and width"),
        ({"windows": True, "task": "text_and_audio", "image": None}, "Windows are for first_frame"),
        ({"initial_noise": np.zeros((1, 4, 3, 8, 12))}, r"accepted is \(1, 4, 3, 12, 8\)"),
        ({"step": 4}, "no sampling option step"),
        ({"prompt": 7}, "The prompt: it is int, not a mapping"),
        ({"face": (0, 60, 0, 9)}, "within 48 rows"),
    ],
)
def test_what_does_not_fit(given, problem):
    pipe = pipeline("preview")
    given = {"image": PICTURE, "face": FACE, "prompt": PROMPT, **given}
    if given.get("task") == "text_and_audio":
        del given["face"]
    with pytest.raises(InputError, match=problem):
        pipe(audio=speech(9), **given)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_full_size_fits_together(variant):
    """113 frames of 1024x560 in every row, by shapes alone."""
    network = Network(EchoMimicDiT, EchoMimicConfig(variant=variant), Execution(dtype="bfloat16"))
    params = functional.abstract(EchoMimicDiT, network.config)
    plan = plan_guidance(DEFAULTS[variant], variant)
    rows, branches = len(plan.rows), plan.weights.shape[1]
    audio = (rows, 226, 768) if variant == "preview" else (rows, 113, 12, 768)
    shapes = [(rows, 512, 4096), (257, 1280), audio, (29, 128, 70, 20), *([(64 * 35,)] if variant == "preview" else [])]
    given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes] + [None] * (variant == "flash")
    conditions = jax.eval_shape(partial(embed, network), params, *given)
    x, time = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 29, 128, 70, 16), (1, 29)))
    now = jax.ShapeDtypeStruct((branches,), jnp.int32), jax.ShapeDtypeStruct((branches,), jnp.float32)
    velocity = jax.eval_shape(velocity_function(network), x, time, (params, conditions), now)
    assert (velocity.shape, velocity.dtype) == (x.shape, jnp.float32)


def part_of(pipe, name):
    return pipe.transformer if name == "transformer" else getattr(pipe.encoders, name)


def write_public(pipe, place):
    """The pipeline's parts as the public files lie on disk: folders of `from_pretrained`, and the sizes."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    parts = {name: part_of(pipe, name) for name in FILES}
    for name, part in parts.items():
        write_file(name, place / ("own" if name == "transformer" else "base"), part.config, part.params)
    write_file("transformer", place / "base", parts["transformer"].config, parts["transformer"].params)
    pipe.encoders.tokenizer.save(place / "base" / "google" / "umt5-xxl")
    sizes = {"hidden_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"conv_dim": (4,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes)).save_pretrained(place / "speech")
    configs = {name: part.config for name, part in parts.items()}
    return (place / "own", place / "base", place / "speech"), configs


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["preview", "flash"])
def test_public_files_are_read(variant, tmp_path):
    pipe = pipeline(variant)
    folders, configs = write_public(pipe, tmp_path)
    read = EchoMimicPipeline.from_pretrained(*folders, variant, configs=configs)
    assert read.variant == variant
    for name in FILES:
        jax.tree.map(np.testing.assert_array_equal, part_of(read, name).params, part_of(pipe, name).params)
    assert read.transformer.execution == Execution() and read.encoders.audio_encoder.execution.precision == "high"
    short = EchoMimicPipeline.from_pretrained(*folders, variant, dtype="bfloat16", configs=configs)
    assert short.transformer.execution.dtype == short.encoders.text_encoder.execution.dtype == "bfloat16"
    assert short.encoders.vae.execution.dtype == "float32"
    with pytest.raises(InputError, match="nowhere"):
        EchoMimicPipeline.from_pretrained(tmp_path / "nowhere", *folders[1:], variant, configs=configs)

    packed = EchoMimicPipeline.from_pretrained(*folders, variant, configs=configs, quantize="int8").transformer
    whole = functional.flatten(pipe.transformer.params)
    for name, leaf in functional.flatten(packed.params).items():
        assert isinstance(leaf, Quantized) == bool(re.fullmatch(MATRICES, name)), name
        if isinstance(leaf, Quantized):
            np.testing.assert_allclose(leaf.values * leaf.scale, whole[name], atol=np.abs(whole[name]).max() / 127)

    bias = np.full(CONFIGS[variant].width, 2.0, np.float32)
    save_file({"lora_unet__blocks_0_cross_attn_k_img.diff_b": bias}, tmp_path / "style.safetensors")
    styled = EchoMimicPipeline.from_pretrained(
        *folders, variant, configs=configs, loras=[f"{tmp_path / 'style.safetensors'}:0.5"]
    )
    for name, leaf in functional.flatten(styled.transformer.params).items():
        np.testing.assert_allclose(leaf, whole[name] + (name == "blocks/image_attn/key/bias"), atol=1e-6)


@pytest.mark.slow
def test_parts_that_wait_in_their_files_make_the_same_video(tmp_path):
    pipe = pipeline("flash")
    folders, configs = write_public(pipe, tmp_path)
    here, small = (
        EchoMimicPipeline.from_pretrained(*folders, "flash", configs=configs, memory=memory)
        for memory in ("24GB", "0.02MB")
    )
    waiting = {name for name in (*PARTS, "transformer") if part_of(small, name).params is None}
    assert waiting == {*PARTS, "transformer"}
    assert not any(part_of(here, name).params is None for name in waiting)
    video, wanted = (one(PICTURE, speech(5), PROMPT, steps=2).frames for one in (small, here))
    np.testing.assert_array_equal(video, wanted)
    (tmp_path / "own" / FILES["transformer"].name).unlink()
    with pytest.raises(InputError, match="missing"):  # before anything is sampled
        EchoMimicPipeline.from_pretrained(*folders, "flash", configs=configs, memory="0.02MB")
