"""Wav2Vec2 alone: published sizes, names and aliases, config.json, time axis, silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import Wav2Vec2, Wav2Vec2Config, standardise
from actavatar_jax.models.wav2vec2 import interpolation_points, wav2vec2_large
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import wav2vec2 as table

SMALL = Wav2Vec2Config(hidden=32, layers=2, heads=2, ffn=48, conv_dim=(16,) * 7, pos_conv_kernel=16, pos_conv_groups=4)


@pytest.mark.parametrize(
    ("config", "parameters", "tensors"),
    [(Wav2Vec2Config(), 94_371_712, 211), (wav2vec2_large(), 315_438_720, 422)],
    ids=["base", "large"],
)
def test_published_size(config, parameters, tensors):
    params = functional.abstract(Wav2Vec2, config)
    assert functional.count(params) == parameters
    entries = table.hf(config)
    names.check_coverage(entries, params)
    assert len(entries) == tensors
    flat = functional.flatten(params)
    shapes = {e.theirs: names.their_shape(e, flat[e.ours].shape) for e in entries}
    assert shapes["feature_extractor.conv_layers.0.conv.weight"] == (512, 1, 10)
    assert shapes["feature_extractor.conv_layers.6.conv.weight"] == (512, 512, 2)
    assert shapes["feature_projection.projection.weight"] == (config.hidden, 512)
    assert shapes["encoder.pos_conv_embed.conv.weight_g"] == (1, 1, 128)
    assert shapes["encoder.pos_conv_embed.conv.weight_v"] == (config.hidden, config.hidden // 16, 128)
    assert shapes["encoder.layers.1.feed_forward.intermediate_dense.weight"] == (config.ffn, config.hidden)


def test_names_found_in_files():
    position = "encoder.pos_conv_embed.conv."
    assert table.canonical(f"wav2vec2.{position}parametrizations.weight.original0") == f"{position}weight_g"
    assert table.canonical(f"{position}parametrizations.weight.original1") == f"{position}weight_v"
    assert table.canonical(f"wav2vec2.{position}weight_v") == f"{position}weight_v"
    for head in ("lm_head.weight", "quantizer.codevectors", "project_hid.bias", "project_q.weight"):
        assert table.canonical(head) is None
    assert {table.canonical(e.theirs) for e in table.hf(SMALL)} == {e.theirs for e in table.hf(SMALL)}


@pytest.mark.parametrize("config", [SMALL, wav2vec2_large()])
def test_config_json_round_trip(config):
    assert table.from_json(table.to_json(config)) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "hubert"}, "hubert"),
        ({"hidden_act": "relu"}, "relu"),
        ({"add_adapter": True}, "adapter"),
        ({"conv_stride": None}, "conv_stride"),
        ({"conv_stride": [5, 2]}, "as many"),
        ({"feat_extract_norm": "batch"}, "batch"),
    ],
)
def test_config_json_of_another_model(change, message):
    values = {key: value for key, value in (table.to_json(SMALL) | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        table.from_json(values)


def test_interpolation_keeps_both_ends():
    below, above, weight = interpolation_points(249, 125)
    positions = below + weight
    assert positions[0] == 0 and positions[-1] == 248 and above.max() == 248
    np.testing.assert_allclose(positions, np.arange(125) * 2, atol=1e-6)
    below, above, weight = interpolation_points(7, 4)
    assert np.array_equal(below + weight, [0, 2, 4, 6])
    assert interpolation_points(3, 1)[0].tolist() == [0]


def test_one_state_per_video_frame_and_layer():
    states = functional.bind(Wav2Vec2, SMALL, functional.abstract(Wav2Vec2, SMALL))
    for frames in (1, 5, 125):
        wave = jax.ShapeDtypeStruct((2, frames * 640), jnp.float32)
        out = jax.eval_shape(lambda m, x, f=frames: m(x, frames=f), states, wave)
        assert out.shape == (2, frames, 3, 32)


def test_silence_is_finite_and_too_little_speech_is_refused():
    draw = np.random.default_rng(0).standard_normal
    params = jax.tree.map(lambda leaf: np.float32(draw(leaf.shape)), functional.abstract(Wav2Vec2, SMALL))
    encode = jax.jit(lambda p, x: functional.bind(Wav2Vec2, SMALL, p)(standardise(x), frames=5))
    assert jnp.isfinite(encode(params, jnp.zeros((1, 3200)))).all()
    with pytest.raises(InputError, match="399 samples"):
        encode(params, jnp.zeros((1, 399)))
