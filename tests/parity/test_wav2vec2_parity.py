"""Wav2Vec2 against transformers' Wav2Vec2Model in both variants, all weights random, through the name table."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from transformers import Wav2Vec2Config as TheirConfig
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Model

from actavatar_jax import functional
from actavatar_jax.models import Wav2Vec2, standardise
from actavatar_jax.weights.names import Arrays, export_params, import_params
from actavatar_jax.weights.tables import wav2vec2 as table

SIZES = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 80,
    "conv_dim": (24, 32, 32, 32, 32, 32, 40), "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
VARIANTS = {
    "group": {"feat_extract_norm": "group", "conv_bias": False, "do_stable_layer_norm": False},
    "layer": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
}


def source(state):
    """A torch state dict under the table's names."""
    return Arrays({table.canonical(name): value.numpy() for name, value in state.items() if table.canonical(name)})


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request):
    """Their recogniser with random weights, our config and parameters."""
    torch.manual_seed(0)
    # An odd number of taps would pad otherwise; the published models have 128.
    model = Wav2Vec2ForCTC(TheirConfig(**SIZES, **VARIANTS[request.param], num_conv_pos_embeddings=128)).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "original0" in name or (value.ndim == 1 and name.endswith("weight")):
                value.normal_(1, 0.3)
            else:
                value.normal_(0, value[0].numel() ** -0.5 if value.ndim > 1 else 0.3)
    config = table.from_json(model.config.to_dict())
    params = import_params(table.hf(config), functional.abstract(Wav2Vec2, config), source(model.state_dict()))
    return model.wav2vec2, config, params


def their_states(model, hidden):
    """Hidden states with the post-norm value last, [B, T, layers + 1, D], recorded at the layers themselves."""
    states = []
    layers = model.encoder.layers
    hooks = [layers[0].register_forward_pre_hook(lambda module, args: states.append(args[0]))]
    hooks += [layer.register_forward_hook(lambda module, args, out: states.append(out)) for layer in layers]
    last = model.encoder(hidden).last_hidden_state
    for hook in hooks:
        hook.remove()
    return torch.stack([*states[:-1], last], dim=2).numpy()


def relative_error(got, want):
    assert got.shape == want.shape
    error = np.abs(np.asarray(got) - want).max() / np.abs(want).max()
    print(f"relative error {error:.1e}")
    return error


def speech(samples):
    return np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [400, 20_479])
def test_native_rate(pair, samples):
    theirs, config, params = pair
    wave = speech(samples)
    with torch.no_grad():
        out = theirs(torch.from_numpy(wave), output_hidden_states=True)
    want = torch.stack([*out.hidden_states[:-1], out.last_hidden_state], dim=2).numpy()
    got = jax.jit(lambda p, x: functional.bind(Wav2Vec2, config, p)(x))(params, wave)
    assert got.shape[1] == (samples - 400) // 320 + 1
    assert relative_error(got, want) <= 1e-5
    for index in range(config.layers + 1):
        assert relative_error(got[:, :, index], want[:, :, index]) <= 1e-5


@pytest.mark.parametrize(("samples", "frames"), [(13 * 640, 13), (6000, 40)])
def test_interpolated(pair, samples, frames):
    theirs, config, params = pair
    wave = speech(samples)
    with torch.no_grad():
        features = theirs.feature_extractor(torch.from_numpy(wave))
        features = torch.nn.functional.interpolate(features, size=frames, mode="linear", align_corners=True)
        want = their_states(theirs, theirs.feature_projection(features.transpose(1, 2))[0])
    got = jax.jit(lambda p, x: functional.bind(Wav2Vec2, config, p)(x, frames=frames))(params, wave)
    assert relative_error(got, want) <= 1e-5


def test_standardise():
    wave = 0.01 * speech(5000)[0] + 0.3
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    want = extractor(wave, sampling_rate=16_000).input_values[0]
    assert relative_error(standardise(jnp.asarray(wave)), want) <= 1e-5


def test_out_and_in_again_is_bitwise(pair):
    theirs, config, params = pair
    exported = dict(export_params(table.hf(config), params))
    want = source(theirs.state_dict()).arrays
    assert exported.keys() == want.keys()
    assert all(np.array_equal(exported[name], want[name]) for name in want)


def test_transformers_reads_what_we_write(pair, tmp_path):
    theirs, config, params = pair
    (tmp_path / "config.json").write_text(json.dumps(table.to_json(config)))
    save_file(dict(export_params(table.hf(config), params)), tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, report = Wav2Vec2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    state, want = model.state_dict(), theirs.state_dict()
    assert all(torch.equal(state[name], want[name]) for name in want)
