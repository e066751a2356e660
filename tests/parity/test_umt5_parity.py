"""UMT5Encoder against transformers' UMT5EncoderModel, all weights random, through the name table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import UMT5Config as TheirConfig
from transformers import UMT5EncoderModel

from actavatar_jax import functional
from actavatar_jax.models import UMT5Encoder
from actavatar_jax.weights.names import Arrays, export_params, import_params
from actavatar_jax.weights.tables import umt5 as table


def source(state):
    """A torch state dict under the table's names."""
    return Arrays({table.canonical(name): value.numpy() for name, value in state.items() if table.canonical(name)})


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = TheirConfig(
        vocab_size=99, d_model=40, d_kv=16, num_heads=3, d_ff=56, num_layers=3, feed_forward_proj="gated-gelu",
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1,
    )  # fmt: skip
    model = UMT5EncoderModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            spread = 1.0 if value.ndim == 2 and ("shared" in name or "bias" in name) else value.shape[-1] ** -0.5
            value.normal_(0, spread) if value.ndim == 2 else value.normal_(1, 0.3)
    return model


@pytest.fixture(scope="module")
def ours(theirs):
    config = table.from_json(theirs.config.to_dict())
    params = import_params(
        table.diffusers(config), functional.abstract(UMT5Encoder, config), source(theirs.state_dict())
    )
    return config, params


@pytest.mark.parametrize("lengths", [(300, 300), (300, 17, 1), (5,)])
def test_features(theirs, ours, lengths):
    config, params = ours
    size = max(lengths)
    ids = np.random.default_rng(1).integers(2, 99, (len(lengths), size)).astype(np.int32)
    mask = np.arange(size)[None] < np.array(lengths)[:, None]
    ids[~mask] = 0
    with torch.no_grad():
        want = theirs(torch.from_numpy(ids).long(), attention_mask=torch.from_numpy(mask)).last_hidden_state.numpy()
    got = jax.jit(lambda p, i, m: functional.bind(UMT5Encoder, config, p)(i, m))(params, ids, mask)
    error = np.abs(np.asarray(got) - want)[mask].max() / np.abs(want[mask]).max()
    print(f"relative error {error:.1e}")
    assert error <= 1e-5


def test_padding_does_not_change_real_tokens(ours):
    config, params = ours
    encode = jax.jit(lambda i, m: functional.bind(UMT5Encoder, config, params)(i, m))
    ids = jnp.asarray(np.random.default_rng(2).integers(2, 99, (1, 40)), jnp.int32)
    alone = encode(ids, jnp.ones((1, 40), bool))
    zeros, sevens = (
        encode(jnp.pad(ids, ((0, 0), (0, 24)), constant_values=value), (jnp.arange(64) < 40)[None])[:, :40]
        for value in (0, 7)
    )
    np.testing.assert_array_equal(zeros, sevens)
    assert jnp.abs(zeros - alone).max() / jnp.abs(alone).max() <= 1e-5


@pytest.mark.parametrize("layout", [table.diffusers, table.wan])
def test_out_and_in_again_is_bitwise(theirs, ours, layout):
    config, params = ours
    exported = dict(export_params(layout(config), params))
    if layout is table.diffusers:
        want = source(theirs.state_dict()).arrays
        assert exported.keys() == want.keys()
        assert all(np.array_equal(exported[name], want[name]) for name in want)
    again = import_params(
        layout(config),
        functional.abstract(UMT5Encoder, config),
        source({name: torch.from_numpy(value) for name, value in exported.items()}),
    )
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), params, again)
    assert all(jax.tree.leaves(same))
