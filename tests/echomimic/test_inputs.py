"""Inputs against Pillow, PyTorch and the restated arithmetic of the original."""

import logging

import jax
import numpy as np
import pytest
from PIL import Image

from actavatar_jax import functional
from actavatar_jax.echomimic import inputs
from actavatar_jax.errors import InputError
from actavatar_jax.models import UMT5Config, UMT5Encoder, Wav2Vec2, standardise
from actavatar_jax.models.clip import CLIPVision, CLIPVisionConfig
from actavatar_jax.prompt.tokenizer import fit_tokenizer
from tests.echomimic.tiny import SPEECH, component

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("width", "height", "want"),
    [
        (640, 1138, (1024, 560)),
        (720, 1264, (1008, 576)),
        (1920, 1080, (576, 1024)),
        (1024, 1024, (768, 768)),
        (500, 700, (688, 496)),
        (16, 31, (16, 16)),
    ],
)
def test_sizes(width, height, want):
    assert inputs.video_size(height, width) == want


def test_pictures_too_small():
    with pytest.raises(InputError, match="15x700 pixels; it needs at least 16"):
        inputs.video_size(700, 15)


def test_pictures_are_stretched_and_not_cut():
    want = np.asarray(Image.fromarray(PICTURE).resize((16, 32), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(inputs.resize(PICTURE, 32, 16), want)


@pytest.mark.parametrize("size", [7, 24, 64])
def test_clip_sees_what_pytorch_shows_it(size):
    """Smaller without antialiasing, larger with overshoot."""
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(PICTURE).permute(2, 0, 1)[None].float() / 127.5 - 1
    x = torch.nn.functional.interpolate(x, (size, size), mode="bicubic", align_corners=False) * 0.5 + 0.5
    mean, std = (torch.tensor(one)[:, None, None] for one in (inputs.CLIP_MEAN, inputs.CLIP_STD))
    want = ((x - mean) / std)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(inputs.clip_pixels(PICTURE, size), want, rtol=0, atol=2e-5)
    assert size == 7 or x.max() > 1, "nothing overshoots"


@pytest.mark.slow
def test_no_picture_is_zeros(quick_compilation):
    encoder = component(CLIPVision, CLIPVisionConfig(width=8, heads=2, ffn=8, layers=1, image_size=8, patch=4))
    assert inputs.encode_picture(None, encoder).shape == inputs.encode_picture(PICTURE, encoder).shape == (5, 8)
    assert not inputs.encode_picture(None, encoder).any()


@pytest.fixture(scope="module")
def speech():
    return component(Wav2Vec2, SPEECH)


def states(encoder, samples, frames=None):
    forward = jax.jit(lambda params, x: functional.bind(Wav2Vec2, SPEECH, params)(standardise(x)[None], frames=frames))
    return np.asarray(forward(encoder.params, samples))[0]


@pytest.mark.slow
def test_preview_hears_the_whole_file_in_its_last_state(speech, quick_compilation):
    samples = RNG.standard_normal(7 * 640 + 123).astype(np.float32)
    got = inputs.encode_audio(samples, 5, speech, "preview")
    assert len(got) == (len(samples) - 400) // 320 + 1
    np.testing.assert_allclose(got, states(speech, samples)[:, -1], atol=1e-6)


@pytest.mark.slow
def test_flash_hears_its_frames_in_every_state(speech, quick_compilation):
    samples = RNG.standard_normal(7 * 640).astype(np.float32)
    got = inputs.encode_audio(samples, 5, speech, "flash")
    np.testing.assert_allclose(got, states(speech, samples[: 5 * 640], 5)[:, 1:], atol=1e-6)
    assert got.shape == (5, 2, 6)


@pytest.mark.parametrize(
    ("begin", "frames", "variant", "more", "want"),
    [
        (0, 5, "preview", 0, range(10)),
        (3, 5, "preview", 6, range(6, 22)),
        (3, 5, "flash", 0, range(3, 8)),
        (8, 4, "preview", 0, [*range(16, 22), 21, 21]),
        (20, 4, "flash", 0, [20, 21, 21, 21]),
    ],
)
def test_features_of_frames(begin, frames, variant, more, want, caplog):
    features = np.arange(22, dtype=np.float32)[:, None]
    with caplog.at_level(logging.INFO, "actavatar_jax"):
        got = inputs.features_of(features, begin, frames, variant, more)
    assert got[:, 0].tolist() == list(want)
    missing = max(0, list(want).count(21) - 1)
    assert [r.message for r in caplog.records] == (
        [f"The last {missing} features of speech are missing and repeat the one before."] if missing else []
    )


@pytest.mark.slow
def test_text_is_not_cleaned_and_padding_is_zero(caplog):
    tokenizer = fit_tokenizer(["some  words &amp; more", "other words"], 512)
    config = UMT5Config(vocab_size=len(tokenizer), width=8, heads=2, head_dim=4, ffn=12, layers=1)
    encoder = component(UMT5Encoder, config)
    text = "some  words &amp; more"
    ids = tokenizer.encode(text, add_special_tokens=True)
    got, _ = inputs.encode_prompt(text, tokenizer, encoder, 64)
    forward = jax.jit(lambda params, ids: functional.bind(UMT5Encoder, config, params)(ids, ids >= 0))
    want = np.asarray(forward(encoder.params, np.asarray([ids], np.int32)))[0]
    np.testing.assert_allclose(got[: len(ids)], want, atol=1e-5)
    assert not got[len(ids) :].any() and got.shape == (64, 8)
    assert not caplog.records
    short, _ = inputs.encode_prompt(text, tokenizer, encoder, 6)
    cut = np.asarray([[*ids[:5], tokenizer.eos_token_id]], np.int32)
    np.testing.assert_allclose(short, np.asarray(forward(encoder.params, cut))[0], atol=1e-5)
    assert f"The prompt has {len(ids)} tokens; those beyond 6 are left out." in caplog.text


def test_of_a_prompt_with_windows_base_and_actions_are_told_and_each_token_knows_its_phase():
    tokenizer = fit_tokenizer(["A person talks. Waves."], 512)
    config = UMT5Config(vocab_size=len(tokenizer), width=8, heads=2, head_dim=4, ffn=12, layers=1)
    encoder = component(UMT5Encoder, config)
    prompt = inputs.read_prompt("A person talks. [0-1s] Waves.", "relay", 2.0)
    text, phases = inputs.encode_prompt(prompt, tokenizer, encoder, 24)
    bare = "A person talks.", "Waves."
    counts = [len(tokenizer.encode(one, add_special_tokens=False)) for one in bare]
    assert phases.tolist() == [0] * counts[0] + [1] * (counts[1] + 1) + [0] * (23 - sum(counts))
    plain, none = inputs.encode_prompt(" ".join(bare), tokenizer, encoder, 24)
    np.testing.assert_array_equal(text, plain)
    assert not none.any()


@pytest.mark.parametrize(
    ("prompt", "phase_time", "told"),
    [
        ("A [0-3s] Waves.", "relay", r"beyond|longer|2"),
        ({"base": "A"}, "none", "The prompt is"),
        (3, "relay", "prompt"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(prompt, phase_time, told):
    with pytest.raises(InputError, match=told):
        inputs.read_prompt(prompt, phase_time, 2.0)
