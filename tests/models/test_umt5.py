"""UMT5Encoder alone: the position buckets, the published size in both layouts, config.json."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import Execution, UMT5Config, UMT5Encoder
from actavatar_jax.models.umt5 import position_buckets
from actavatar_jax.weights import names
from actavatar_jax.weights.tables import umt5 as table

BUCKETS = {
    -200: 15, -128: 15, -100: 15, -64: 14, -8: 8, -7: 7, -1: 1, 0: 0, 1: 17, 7: 23, 8: 24, 16: 26, 32: 28, 64: 30,
    127: 31, 128: 31,
}  # fmt: skip
SMALL = UMT5Config(vocab_size=50, width=32, heads=2, head_dim=16, ffn=48, layers=2)


def test_position_buckets():
    grid = position_buckets(301, 32, 128)
    assert {offset: int(grid[200, 200 + offset]) for offset in BUCKETS if offset <= 100} == {
        offset: row for offset, row in BUCKETS.items() if offset <= 100
    }
    assert grid[0, 127] == grid[0, 128] == grid[0, 300] == 31


def test_position_buckets_depend_on_the_offset_only():
    grid = position_buckets(40, 32, 128)
    assert np.array_equal(grid[1:, 1:], grid[:-1, :-1])


def test_published_size():
    params = functional.abstract(UMT5Encoder, UMT5Config())
    assert functional.count(params) == 5_680_910_336
    flat = functional.flatten(params)
    for layout in (table.diffusers, table.wan):
        entries = layout(UMT5Config())
        names.check_coverage(entries, params)
        assert len(entries) == 242
        shapes = {e.theirs: names.their_shape(e, flat[e.ours].shape) for e in entries}
        assert sum(np.prod(shape) for shape in shapes.values()) == 5_680_910_336


@pytest.mark.parametrize(
    ("wan", "diffusers", "shape"),
    [
        ("token_embedding.weight", "shared.weight", (256384, 4096)),
        ("blocks.3.norm1.weight", "encoder.block.3.layer.0.layer_norm.weight", (4096,)),
        ("blocks.3.attn.q.weight", "encoder.block.3.layer.0.SelfAttention.q.weight", (4096, 4096)),
        ("blocks.3.attn.o.weight", "encoder.block.3.layer.0.SelfAttention.o.weight", (4096, 4096)),
        ("blocks.3.pos_embedding.embedding.weight",
         "encoder.block.3.layer.0.SelfAttention.relative_attention_bias.weight", (32, 64)),
        ("blocks.3.norm2.weight", "encoder.block.3.layer.1.layer_norm.weight", (4096,)),
        ("blocks.3.ffn.gate.0.weight", "encoder.block.3.layer.1.DenseReluDense.wi_0.weight", (10240, 4096)),
        ("blocks.3.ffn.fc1.weight", "encoder.block.3.layer.1.DenseReluDense.wi_1.weight", (10240, 4096)),
        ("blocks.3.ffn.fc2.weight", "encoder.block.3.layer.1.DenseReluDense.wo.weight", (4096, 10240)),
        ("norm.weight", "encoder.final_layer_norm.weight", (4096,)),
    ],
)  # fmt: skip
def test_layouts_name_the_same_tensor(wan, diffusers, shape):
    flat = functional.flatten(functional.abstract(UMT5Encoder, UMT5Config()))
    first, second = (
        next(e for e in layout(UMT5Config()) if e.theirs == name)
        for layout, name in ((table.wan, wan), (table.diffusers, diffusers))
    )
    assert (first.ours, first.layer) == (second.ours, second.layer)
    assert names.their_shape(first, flat[first.ours].shape) == shape


def test_tied_and_unused_tensors_are_left_out():
    assert table.canonical("encoder.embed_tokens.weight") is None
    assert table.canonical("decoder.block.0.layer.0.SelfAttention.q.weight") is None
    assert table.canonical("lm_head.weight") is None
    assert {table.canonical(e.theirs) for e in table.diffusers(SMALL)} == {e.theirs for e in table.diffusers(SMALL)}
    assert {table.canonical(e.theirs) for e in table.wan(SMALL)} == {e.theirs for e in table.wan(SMALL)}


def test_config_json_round_trip():
    assert table.from_json(table.to_json(SMALL)) == SMALL


@pytest.mark.parametrize(
    ("change", "message"),
    [({"model_type": "t5"}, "umt5"), ({"feed_forward_proj": "gated-silu"}, "gated-silu"), ({"d_kv": None}, "d_kv")],
)
def test_config_json_of_another_model(change, message):
    values = {key: value for key, value in (table.to_json(SMALL) | change).items() if value is not None}
    with pytest.raises(InputError, match=message):
        table.from_json(values)


@pytest.mark.slow
def test_half_precision_stays_near():
    params = jax.jit(lambda key: functional.init(UMT5Encoder, SMALL, key))(jax.random.key(0))
    ids, mask = jnp.arange(2, 14)[None], jnp.ones((1, 12), bool)

    def encode(dtype, params):
        return jax.jit(lambda p: functional.bind(UMT5Encoder, SMALL, p, Execution(dtype))(ids, mask))(params)

    full, low = encode("float32", params), encode("bfloat16", functional.cast(params, jnp.bfloat16))
    assert low.dtype == jnp.float32
    assert 0 < float(jnp.abs(low - full).max() / jnp.abs(full).max()) < 0.05
