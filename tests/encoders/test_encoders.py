"""Encoders on tiny random parts: lengths, padding, time axis, silence, frames and fingerprints."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.encoders import Encoders, fingerprint, stored_fingerprint
from actavatar_jax.errors import InputError
from actavatar_jax.models import (
    PRESETS,
    Execution,
    PatchCodec,
    PatchCodecConfig,
    UMT5Config,
    UMT5Encoder,
    Wav2Vec2,
    Wav2Vec2Config,
)
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.models.wan_vae.vae import VAEConfig, WanVAE
from actavatar_jax.prompt import Phase, StructuredPrompt
from actavatar_jax.prompt.tokenizer import fit_tokenizer
from actavatar_jax.weights import Component, Safetensors, reader, save, write_sharded
from actavatar_jax.weights.reader import Slots

PROMPTS = [
    StructuredPrompt("A woman speaks.", (Phase(0, 2, "Waves a hand."), Phase(2, 4, "Points down."))),
    StructuredPrompt(""),
]
TEXT = UMT5Config(vocab_size=512, width=16, heads=2, head_dim=8, ffn=24, layers=2)
AUDIO = Wav2Vec2Config(  # the variant whose first norm does not take the loudness out by itself
    hidden=16, layers=2, heads=2, ffn=24, conv_dim=(8,) * 7, pos_conv_kernel=8, pos_conv_groups=2,
    conv_norm="layer", conv_bias=True,
)  # fmt: skip
VAE = VAEConfig(
    encoder_base=8, decoder_base=8, z_dim=4, multipliers=(1, 1), temporal_down=(True,), res_blocks=1,
    latents_mean=(0.1,) * 4, latents_std=(0.9,) * 4,
)  # fmt: skip


def component(module, config, seed):
    """Random parameters without compiling an initialiser."""
    draw = np.random.default_rng(seed).standard_normal
    shapes = functional.abstract(module, config)
    params = jax.tree.map(lambda leaf: np.float32(draw(leaf.shape) * max(np.prod(leaf.shape[:-1]), 1) ** -0.5), shapes)
    return Component(module, config, params).moved("device")


def build(text=TEXT, codec=8):
    tokenizer = fit_tokenizer([prompt.render() for prompt in PROMPTS], 512)
    parts = component(UMT5Encoder, text, 1), component(Wav2Vec2, AUDIO, 2)
    return Encoders(tokenizer, *parts, component(PatchCodec, PatchCodecConfig(codec), 3), text_len=64)


@pytest.fixture(scope="module")
def encoders():
    return build()


def test_text_is_zero_beyond_the_end(encoders):
    features, phase_ids = encoders.text(PROMPTS)
    tokens = [prompt.tokenise(encoders.tokenizer, max_length=64) for prompt in PROMPTS]
    assert features.shape == (2, 64, 16) and phase_ids.shape == (2, 64)
    assert len(tokens[1].ids) == 1  # the empty prompt is its end token
    for row, ids, token in zip(features, phase_ids, tokens, strict=True):
        count = len(token.ids)
        assert (row[count:] == 0).all() and (ids[count:] == -1).all()
        assert (np.abs(row[:count]).max(axis=-1) > 0).all()
        assert np.array_equal(ids[:count], token.phase_ids)
        part = encoders.text_encoder
        encode = jax.jit(functional.bind(UMT5Encoder, TEXT, part.params))
        alone = encode(jnp.asarray(token.ids)[None], jnp.ones((1, count), bool))
        assert np.abs(row[:count] - alone[0]).max() / np.abs(alone).max() <= 1e-5


def test_text_does_not_depend_on_the_batch(encoders):
    np.testing.assert_array_equal(encoders.text(PROMPTS)[0][1:], encoders.text(PROMPTS[1:])[0])


def test_too_long_text(encoders):
    prompt = StructuredPrompt("word " * 60, PROMPTS[0].phases)
    with pytest.raises(InputError, match="at most 64"):
        encoders.text([prompt])
    _, phase_ids = encoders.text([prompt], strict=False)
    assert set(phase_ids[0]) == {0, 1, 2}


def test_tokenizer_of_another_encoder_is_refused_or_remarked_on(caplog):
    with pytest.raises(InputError, match="do not belong together"):
        build(text=dataclasses.replace(TEXT, vocab_size=256))
    build()
    assert not caplog.records
    build(text=dataclasses.replace(TEXT, vocab_size=4096))
    assert "and the text encoder 4096; do they belong together?" in caplog.text


def test_audio_has_one_row_per_frame(encoders):
    samples = 0.2 * np.random.default_rng(0).standard_normal(5 * 640).astype(np.float32) + 0.1
    features = encoders.audio(samples, 5)
    assert features.shape == (5, 2, 16) and features.dtype == np.float32
    wave = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    encode = jax.jit(functional.bind(Wav2Vec2, AUDIO, encoders.audio_encoder.params), static_argnames="frames")
    states = encode(jnp.asarray(wave)[None], frames=5)
    assert np.abs(features - states[0, :, 1:]).max() / np.abs(states).max() <= 1e-5
    # Loudness and offset are taken out.
    np.testing.assert_allclose(encoders.audio(0.1 * samples + 0.2, 5), features, atol=1e-3)
    assert np.isfinite(encoders.audio(np.zeros_like(samples), 5)).all()
    with pytest.raises(InputError, match=r"3200 samples.*got 3199"):
        encoders.audio(samples[:-1], 5)


def test_audio_of_another_rate_has_its_frames(encoders):
    samples = 0.2 * np.random.default_rng(0).standard_normal(25 * 640).astype(np.float32)
    slow = encoders.audio(samples, 16, 16)
    assert slow.shape[0] == 16 and encoders.audio(samples, 25).shape[0] == 25  # of the same second
    np.testing.assert_array_equal(encoders.audio(samples, 16, 16), slow)
    with pytest.raises(InputError, match=r"5 video frames go with 5000 samples.*got 3200"):
        encoders.audio(samples[:3200], 5, 16)


def test_video_through_an_orthonormal_codec():
    """A codec whose basis spans everything gives the frames back, so scaling and rounding are each other's inverse."""
    first, rest = np.eye(768, dtype=np.float32), np.zeros((3072, 768), np.float32)
    rest[:768] = np.eye(768)
    params = {
        part: {
            "mean": np.zeros((1, 1, len(directions)), np.float32),
            "directions": directions[None, None],
            "scale": np.ones((1, 1, 768), np.float32),
        }
        for part, directions in (("first", first), ("rest", rest))
    }
    encoders = build()
    encoders = Encoders(
        encoders.tokenizer, encoders.text_encoder, encoders.audio_encoder,
        Component(PatchCodec, PatchCodecConfig(768), params),
    )  # fmt: skip
    frames = np.arange(768, dtype=np.uint8).reshape(1, 16, 16, 3)
    latents = encoders.video(frames)
    assert latents.shape == (1, 1, 1, 768) and abs(latents.min() + 1) < 1e-6 and abs(latents.max() - 1) < 1e-6
    assert np.array_equal(encoders.decode(latents), frames)
    assert np.array_equal(encoders.decode(300 * latents), np.where(frames > 127, 255, 0))


@pytest.mark.slow
@pytest.mark.parametrize(("module", "config"), [(PatchCodec, PatchCodecConfig(8)), (WanVAE, VAE)])
def test_video_is_the_codec_on_scaled_pixels(encoders, module, config):
    part = component(module, config, 4)
    encoders = Encoders(encoders.tokenizer, encoders.text_encoder, encoders.audio_encoder, part)
    frames = np.random.default_rng(5).integers(0, 256, (5, 32, 16, 3), np.uint8)
    latents = encoders.video(frames)
    vae = functional.bind(module, config, encoders.vae.params)
    want = jax.jit(vae.encode)(jnp.asarray(frames[None] / 127.5 - 1, jnp.float32))[0]
    assert latents.shape == want.shape
    assert np.abs(latents - want).max() / np.abs(want).max() <= 1e-5
    decoded = encoders.decode(latents.astype(jnp.bfloat16))
    want = jax.jit(vae.decode)(jnp.asarray(latents.astype(jnp.bfloat16), jnp.float32)[None])[0]
    assert decoded.shape == frames.shape
    assert np.abs(decoded - (np.asarray(want) + 1) * 127.5).max() <= 0.51
    with pytest.raises(InputError, match=r"4 frames|got 4"):
        encoders.video(frames[:4])


def test_a_text_is_encoded_once_and_the_encoder_visits_once_for_many(model_folder, monkeypatch):
    waiting = dict.fromkeys(("audio_encoder", "vae"), "device") | {"text_encoder": "on demand"}
    encoders, visits = Encoders.from_folder(model_folder, residences=waiting), []
    real = encoders.text_encoder.read
    monkeypatch.setattr(
        encoders,
        "text_encoder",
        dataclasses.replace(encoders.text_encoder, read=lambda place: (visits.append(1), real(place))[1]),
    )
    first, _ = encoders.text([*PROMPTS, PROMPTS[0]])
    np.testing.assert_array_equal(first[0], first[2])
    again, _ = encoders.text(PROMPTS[::-1])
    np.testing.assert_array_equal(again, first[1::-1])
    assert len(visits) == 1
    for word in range(40):  # more than are remembered
        encoders.text([StructuredPrompt(f"A woman {word}.")])
    encoders.text(PROMPTS)
    assert len(visits) == 42


def test_fingerprint_tells_parts_apart(encoders):
    mark = encoders.fingerprint()
    assert set(mark) == {"tokenizer", "text_encoder", "audio_encoder", "vae"}
    half = dataclasses.replace(
        encoders.text_encoder,
        execution=Execution("bfloat16"),
        params=functional.cast(encoders.text_encoder.params, jnp.bfloat16),
    )
    low = Encoders(encoders.tokenizer, half, encoders.audio_encoder, encoders.vae, text_len=64)
    assert low.fingerprint() == mark

    changed = jax.tree.map(np.array, encoders.vae.params)
    changed["first"]["mean"][0] += 0.1
    other_vae = dataclasses.replace(encoders.vae, params=changed)
    eps = dataclasses.replace(AUDIO, eps=1e-6)
    other_audio = dataclasses.replace(encoders.audio_encoder, config=eps)
    words = fit_tokenizer(["other words altogether"], 512)
    for part, made in {
        "vae": Encoders(encoders.tokenizer, encoders.text_encoder, encoders.audio_encoder, other_vae),
        "audio_encoder": Encoders(encoders.tokenizer, encoders.text_encoder, other_audio, encoders.vae),
        "tokenizer": Encoders(words, encoders.text_encoder, encoders.audio_encoder, encoders.vae),
    }.items():
        assert {name for name, value in made.fingerprint().items() if value != mark[name]} == {part}


@pytest.fixture(scope="module")
def model_folder(encoders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    encoders.save(folder)
    transformer = component(ActAvatarDiT, dataclasses.replace(PRESETS["tiny"].transformer, text_len=64), 6)
    save(folder, "transformer", transformer.config, transformer.params)
    return folder


def test_another_process_reads_the_folder_with_the_same_fingerprint(encoders, model_folder):
    script = (
        "import json, sys; from actavatar_jax.encoders import Encoders; "
        "e = Encoders.from_folder(sys.argv[1], dtype='bfloat16'); print(json.dumps([e.fingerprint(), e.text_len]))"
    )
    out = subprocess.run([sys.executable, "-c", script, model_folder], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.splitlines()[-1]) == [encoders.fingerprint(), 64]


def test_a_fingerprint_is_taken_once_for_the_same_files(encoders, model_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    taken, real = [], fingerprint.of_stored
    monkeypatch.setattr(fingerprint, "of_stored", lambda *part: (taken.append(part[1]), real(*part))[1])
    mark = stored_fingerprint(folder)
    assert mark == stored_fingerprint(folder) and len(taken) == 3
    other = component(UMT5Encoder, TEXT, 9)
    save(folder, "text_encoder", TEXT, other.params)
    changed = stored_fingerprint(folder)
    assert taken[3:] == ["text_encoder"]
    assert {part for part in mark if mark[part] != changed[part]} == {"text_encoder"}

    monkeypatch.setattr(fingerprint, "write_json", cannot_write)  # which is no mistake
    os.utime(folder / "vae" / "config.json")
    assert stored_fingerprint(folder) == changed and taken[4:] == ["vae"]


def cannot_write(path, value):
    raise PermissionError(path)


def test_the_files_alone_give_the_same_fingerprint(encoders, model_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "load", None)  # which would read a part as a whole
    assert stored_fingerprint(model_folder) == encoders.fingerprint()

    folder = shutil.copytree(model_folder, tmp_path / "model")
    video = component(WanVAE, VAE, 4)
    save(folder, "vae", VAE, video.params)
    low = {
        part: functional.cast(getattr(encoders, part).params, dtype)
        for part, dtype in (("text_encoder", jnp.bfloat16), ("audio_encoder", jnp.float16))
    }
    save(folder, "text_encoder", TEXT, low["text_encoder"])
    save(folder, "audio_encoder", AUDIO, low["audio_encoder"])
    mark = stored_fingerprint(folder)
    assert mark == Encoders.from_folder(folder).fingerprint()
    assert {part for part, value in encoders.fingerprint().items() if mark[part] == value} == {
        "tokenizer",
        "text_encoder",
    }


def test_a_leaf_that_its_publisher_left_out_counts_with_its_initial_value(encoders, model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    slots = Safetensors(folder / "audio_encoder" / "model.safetensors")
    rest = Slots({name: slots.read(name) for name in slots.names() if name != "masked_spec_embed"})
    assert len(rest.names()) == len(slots.names()) - 1
    write_sharded(folder / "audio_encoder", "model", rest)
    mark = stored_fingerprint(folder)
    assert mark == Encoders.from_folder(folder).fingerprint()
    assert mark["audio_encoder"] != encoders.fingerprint()["audio_encoder"]


def test_files_that_do_not_fit_their_config_have_no_fingerprint(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"d_ff": 32}))
    with pytest.raises(InputError, match=r"wi_0.weight has shape \[24, 16\], expected \[32, 16\]"):
        stored_fingerprint(folder)
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(InputError, match="holds no text_encoder"):
        stored_fingerprint(folder)


def test_a_large_part_is_never_in_memory_as_a_whole(tmp_path, monkeypatch):
    """Neither its token embedding (33 MB) nor the layers of a kernel together (8 MB, 17 MB as stored)."""
    monkeypatch.setattr(reader, "PIECE_BYTES", 2**20)
    config = UMT5Config(vocab_size=16384, width=512, heads=8, head_dim=64, ffn=1024, layers=8)
    big = component(UMT5Encoder, config, 1)
    save(tmp_path, "text_encoder", config, big.params)
    expected = fingerprint.of(big)
    del big
    fingerprint.of_stored(tmp_path, "text_encoder")  # what is kept of the model's form is there now
    tracemalloc.start()
    try:
        assert fingerprint.of_stored(tmp_path, "text_encoder") == expected
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()


def test_folder_gives_the_same_features(encoders, model_folder):
    again = Encoders.from_folder(model_folder)
    for ours, theirs in zip(encoders.text(PROMPTS), again.text(PROMPTS), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    half = Encoders.from_folder(model_folder, dtype="bfloat16").text(PROMPTS)[0]
    assert half.dtype == np.float32
    assert 0 < np.abs(half - encoders.text(PROMPTS)[0]).max() < 0.2


def test_audio_encoder_for_raw_speech_is_refused(model_folder, tmp_path):
    folder = shutil.copytree(model_folder, tmp_path / "model")
    (folder / "audio_encoder" / "preprocessor_config.json").write_text('{"do_normalize": false}')
    with pytest.raises(InputError, match="do_normalize"):
        Encoders.from_folder(folder)
    (folder / "audio_encoder" / "preprocessor_config.json").write_text('{"do_normalize": true}')
    Encoders.from_folder(folder)
