"""LFQTokenizer: parity with the original's layout, sizes, and what a token changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax import functional
from actavatar_jax.avatarsync.tokenizer import LFQConfig, LFQTokenizer, SmallLFQConfig, lfq, names
from actavatar_jax.avatarsync.tokenizer.layers import AdaptiveNorm, depth_to_space, space_to_depth
from actavatar_jax.errors import InputError
from actavatar_jax.weights import names as tables
from tests.avatarsync.drawn import random_params

torch = pytest.importorskip("torch")
from tests.avatarsync.tokenizer import original  # noqa: E402 - it is written in PyTorch

pytestmark = pytest.mark.usefixtures("quick_compilation")

NARROW = LFQConfig(channels=16, multipliers=(1, 1, 2, 2, 4), blocks=1, bits=6, groups=4)
SMALL = SmallLFQConfig(widths=(8, 16), patch=2, tokens=(4, 4), bits=5, groups=4)


@functools.cache
def narrow():
    return random_params(LFQTokenizer, NARROW)


def call(config, method):
    def apply(params, *inputs):
        return getattr(functional.bind(LFQTokenizer, config, params), method)(*inputs)

    return jax.jit(apply, compiler_options=functional.RUN_ONCE)


def pixels(height, width, batch=2):
    return np.random.default_rng(1).uniform(-1, 1, (batch, height, width, 3)).astype(np.float32)


@pytest.mark.slow
def test_the_published_size():
    shapes = functional.abstract(LFQTokenizer, config := LFQConfig())
    counts = [functional.count(shapes[side]) for side in ("encoder", "decoder")]
    assert counts == [49_749_390, 65_344_643] and sum(counts) == 115_094_033
    table = names.open_magvit(config)
    tables.check_coverage(table, shapes)
    assert len(table) == 339 == len({entry.theirs for entry in names.averaged(table)})
    by_name = {e.theirs: tables.their_shape(e, functional.flatten(shapes)[e.ours].shape) for e in table}
    assert sum(name.startswith("encoder") for name in by_name) == 159
    assert by_name["encoder.conv_out.weight"] == (14, 512, 1, 1)
    assert by_name["decoder.up.4.upsample.conv1.weight"] == (2048, 512, 3, 3)
    assert by_name["decoder.adaptive.3.gamma.weight"] == (512, 14) and by_name["decoder.conv_in.bias"] == (512,)
    assert "encoder.down.2.block.0.nin_shortcut.weight" in by_name and "encoder.down.4.downsample.bias" not in by_name
    shortcuts = [name for name in by_name if "nin_shortcut" in name and name.startswith("decoder")]
    assert shortcuts == [f"decoder.up.{level}.block.0.nin_shortcut.weight" for level in (1, 3)]


def test_the_small_size():
    assert functional.count(functional.abstract(LFQTokenizer, SmallLFQConfig())) == 2_227_705


def test_averages_have_names_without_dots():
    table = names.open_magvit(NARROW)
    averages = names.averaged(table)
    assert "model_ema.decoderup3block0conv1weight" in {entry.theirs for entry in averages}
    assert [(e.ours, e.transform) for e in averages] == [(e.ours, e.transform) for e in table]


def test_it_is_the_original():
    weights = {n: torch.from_numpy(np.array(x)) for n, x in tables.export_params(names.open_magvit(NARROW), narrow())}
    images = pixels(64, 48)
    with torch.no_grad():
        numbers = original.encode(weights, NARROW, torch.from_numpy(images).permute(0, 3, 1, 2))
        codes = torch.where(numbers > 0, 1.0, -1.0)
        want = original.decode(weights, NARROW, codes).permute(0, 2, 3, 1).numpy()
    got, found = call(NARROW, "__call__")(narrow(), images)
    assert found.shape == (2, 4, 3, 6)
    numbers = numbers.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, numbers, atol=1e-4 * np.abs(numbers).max())
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
    read = tables.import_params(
        names.averaged(names.open_magvit(NARROW)),
        functional.abstract(LFQTokenizer, NARROW),
        tables.Arrays({"model_ema." + name.replace(".", ""): x.numpy() for name, x in weights.items()}),
    )
    assert all(map(np.array_equal, jax.tree.leaves(read), jax.tree.leaves(narrow())))


def test_depth_to_space_has_its_own_order():
    x = jnp.arange(2 * 3 * 8, dtype=jnp.float32).reshape(1, 2, 3, 8)
    found = np.asarray(depth_to_space(x))
    for row, column, channel in np.ndindex(4, 6, 2):
        inside = 2 * (row % 2) + column % 2
        assert found[0, row, column, channel] == x[0, row // 2, column // 2, 2 * inside + channel]
    np.testing.assert_array_equal(space_to_depth(jnp.asarray(found)), x)
    shuffled = torch.nn.functional.pixel_shuffle(torch.from_numpy(np.array(x)).permute(0, 3, 1, 2), 2).permute(
        0, 2, 3, 1
    )
    assert not np.array_equal(found, shuffled.numpy())


def test_the_spread_is_of_n_minus_one():
    """Of two tokens +1 and -1 it is the root of 2."""
    config = (1, 4, 2)
    module = AdaptiveNorm(*config, rngs=nnx.Rngs(0))
    module.gamma.kernel[...] = jnp.ones((1, 4))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((1, 1, 2, 4)), jnp.float32)
    found = module(x, jnp.asarray([1.0, -1.0]).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(found, 2**0.5 * np.asarray(module.norm(x)), rtol=1e-5)


# ---- use


@pytest.mark.slow
def test_a_token_changes_every_pixel_of_the_original_layout():
    tokens = jnp.zeros((1, 3, 3), jnp.int32)
    changed = tokens.at[0, 0, 0].set(5)
    decode = call(NARROW, "decode_codes")
    before, after = (decode(narrow(), lfq.to_codes(one, 6)) for one in (tokens, changed))
    assert (np.abs(before - after) > 0).mean() > 0.99


@pytest.mark.slow
def test_the_small_one_knows_places_and_has_gradients_everywhere():
    params = random_params(LFQTokenizer, SMALL)
    images = jnp.asarray(pixels(16, 16))

    def loss(params):
        tokenizer = functional.bind(LFQTokenizer, SMALL, params)
        pictures, numbers = tokenizer(images)
        return ((pictures - images) ** 2).mean() + lfq.losses(numbers, 0.5).commit, tokenizer.encode(images)

    gradients, tokens = jax.jit(jax.grad(loss, has_aux=True), compiler_options=functional.RUN_ONCE)(params)
    assert tokens.shape == (2, 4, 4) and tokens.min() >= 0 and tokens.max() < 32 and len(np.unique(tokens)) > 8
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
    decoded = call(SMALL, "decode")(params, np.zeros((1, 4, 4), np.int32))
    assert decoded.shape == (1, 16, 16, 3) and np.abs(decoded).max() <= 1
    assert np.abs(decoded[:, :4, :4] - decoded[:, 4:8, 4:8]).max() > 0.05  # equal tokens at two places


@pytest.mark.parametrize(
    ("config", "size", "message"),
    [
        (NARROW, (64, 40), "64x40; it takes sides in multiples of 16"),
        (SMALL, (16, 32), "16x32; everything has its place in those of 16x16"),
    ],
)
def test_pictures_of_other_sizes_are_refused(config, size, message):
    with pytest.raises(InputError, match=message):
        jax.eval_shape(call(config, "encode"), functional.abstract(LFQTokenizer, config), pixels(*size))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (LFQConfig, {"bits": 19}, "bits is 19; accepted is a whole number from 1 to 18"),
        (LFQConfig, {"channels": 100}, "channels are 100; accepted is a multiple of its 32 groups"),
        (SmallLFQConfig, {"widths": (64, 100)}, "multiples of its 8 groups"),
    ],
)
def test_impossible_sizes_are_refused(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind(**options)
