"""The speech encoders of both variants are `Wav2Vec2` from the folders of their publishers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models import Wav2Vec2, standardise
from actavatar_jax.models.wav2vec2 import interpolate
from actavatar_jax.weights import load
from tests.echomimic.small import relative_error

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "conv_dim": (6,) * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 3,
}  # fmt: skip


@pytest.fixture(scope="module", params=["preview", "flash"])
def published(request, tmp_path_factory):
    """wav2vec2-base-960h: safetensors with a head of recognition and without the masked embedding.
    chinese-wav2vec2-base: an old PyTorch file of pre-training."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    config = transformers.Wav2Vec2Config(**SIZES)
    if request.param == "preview":
        whole = transformers.Wav2Vec2ForCTC(config)
        whole.save_pretrained(folder)
    else:
        whole = transformers.Wav2Vec2ForPreTraining(config)
        torch.save(whole.state_dict(), folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return whole.eval(), folder


@pytest.mark.slow
def test_features(published):
    """Two per frame of the last layer for `preview`; the native rate is what `flash` interpolates."""
    whole, folder = published
    part = load(folder, "audio_encoder")
    waveform = np.random.default_rng(0).standard_normal((1, 5 * 640)).astype(np.float32)
    waveform = np.array(standardise(jnp.asarray(waveform)))
    with torch.no_grad():
        want = whole.wav2vec2(torch.from_numpy(waveform), output_hidden_states=True)
    got = jax.jit(lambda params, x: functional.bind(Wav2Vec2, part.config, params)(x))(part.params, waveform)
    assert got.shape[1] == 2 * 5 - 1  # the last frame's second feature would need samples beyond the end
    assert relative_error(got[:, :, -1], want.last_hidden_state.numpy()) < 1e-5
    assert relative_error(got[:, :, 1:], torch.stack(want.hidden_states[1:], 2).numpy()) < 1e-5


@pytest.mark.parametrize("frames", [5, 81, 249])
def test_flash_takes_every_second_position(frames):
    """Whole frames of 640 samples give 2T - 1 positions: interpolation to T of them is exact."""
    x = jax.random.normal(jax.random.key(0), (1, 2 * frames - 1, 3))
    np.testing.assert_array_equal(interpolate(x, frames), x[:, ::2])
