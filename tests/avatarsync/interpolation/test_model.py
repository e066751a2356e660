"""Interpolator: parity with VFIMamba, its sizes, and frames at any time."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync.interpolation import PUPPET, Interpolator, InterpolatorConfig, names
from actavatar_jax.errors import InputError
from actavatar_jax.weights import names as tables
from tests.avatarsync.drawn import random_params

torch = pytest.importorskip("torch")
from tests.avatarsync.interpolation import original  # noqa: E402 - it is written in PyTorch

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = InterpolatorConfig(channels=4, depths=(1, 1, 1, 1, 1), state=3, merge="legacy", chunk=8)
TIMES = jnp.asarray([[0.25, 0.5], [0.8, 0.1]])


@functools.cache
def params():
    return random_params(Interpolator, CONFIG)


@functools.cache
def frames(height=32, width=64):
    drawn = np.random.default_rng(1).uniform(0.2, 0.8, (2, 2, height, width, 3)).astype(np.float32)
    return tuple(map(jnp.asarray, drawn))


@functools.partial(jax.jit, compiler_options=functional.RUN_ONCE)
def between(params, first, second, t):
    return functional.bind(Interpolator, CONFIG, params)(first, second, t)


@functools.cache
def found():
    return between(params(), *frames(), TIMES)


@pytest.mark.slow
def test_the_published_sizes():
    shapes = functional.abstract(Interpolator, config := InterpolatorConfig())
    parts = {"backbone": 4_187_089, "heads": 122_068, "local": 649_162, "unet": 11_834_467}
    assert {name: functional.count(part) for name, part in shapes.items()} == parts
    assert functional.count(shapes) == 16_792_786
    table = names.vfimamba(config)
    tables.check_coverage(table, shapes)
    by_name = {e.theirs: tables.their_shape(e, functional.flatten(shapes)[e.ours].shape) for e in table}
    assert len(by_name) == 302
    attention = "feature_bone.block3.blocks.2.self_attention"
    assert by_name[f"{attention}.x_proj_weight"] == (4, 40, 256) and by_name[f"{attention}.A_logs"] == (1024, 16)
    assert by_name[f"{attention}.conv2d.weight"] == (256, 1, 3, 3)
    assert by_name["feature_bone.block3.blocks.0.conv_blk.cab.3.attention.1.weight"] == (4, 128, 1, 1)
    assert by_name["block.0.conv.0.0.weight"] == (64, 39, 3, 3)
    assert by_name["block.1.conv.0.0.weight"] == (64, 34, 3, 3)
    assert by_name["local_block.1.lastconv.weight"] == (64, 5, 4, 4)
    assert by_name["unet.down0.conv1.0.weight"] == (64, 49, 3, 3)
    assert by_name["unet.up0.0.weight"] == (1024, 256, 4, 4) and by_name["unet.conv.weight"] == (3, 32, 3, 3)
    assert functional.count(functional.abstract(Interpolator, PUPPET)) == 3_637_166


@pytest.mark.slow
def test_it_is_the_original():
    weights = {n: torch.from_numpy(np.array(x)) for n, x in tables.export_params(names.vfimamba(CONFIG), params())}
    first, second = (torch.from_numpy(np.array(x)).permute(0, 3, 1, 2) for x in frames())
    for pair, time in np.ndindex(2, 2):
        with torch.no_grad():
            one = slice(pair, pair + 1)
            want, blends = original.interpolate(weights, CONFIG, first[one], second[one], float(TIMES[pair, time]))
        for got, expected in zip(found().blends, blends, strict=True):
            np.testing.assert_allclose(got[pair, time], expected[0].permute(1, 2, 0), atol=1e-4)
        np.testing.assert_allclose(found().frames[pair, time], want[0].permute(1, 2, 0), atol=1e-4)


@pytest.mark.slow
def test_times_and_pairs_do_not_change_each_other():
    other = between(params(), *frames(), TIMES.at[0, 1].set(0.9).at[1].set(0.3))
    difference = np.abs(found().frames - other.frames).max((2, 3, 4))
    assert difference[0, 0] == 0 and difference[0, 1] > 1e-4 and difference[1].min() > 1e-4
    first, second = frames()
    again = between(params(), first.at[1].set(0.5), second, TIMES)
    np.testing.assert_array_equal(found().frames[0], again.frames[0])
    assert np.abs(found().frames[1] - again.frames[1]).max() > 0.01


@pytest.mark.slow
def test_equal_frames_stay_where_nothing_moves_and_nothing_is_added():
    still = functional.unflatten(
        {
            name: np.zeros_like(leaf) if name.startswith(("heads/0/convs/2", "heads/1/convs/2", "unet/out")) else leaf
            for name, leaf in functional.flatten(params()).items()
        }
    )
    for local in still["local"].values():
        local["last"] = jax.tree.map(np.zeros_like, local["last"])
    first, _ = frames()
    same = between(still, first, first, TIMES)
    np.testing.assert_allclose(same.frames, jnp.broadcast_to(first[:, None], same.frames.shape), atol=1e-6)


@pytest.mark.slow
def test_sides_that_do_not_fit_are_continued():
    """Beyond the edges stand the pixels of the edges, and the result is cut to the sides that came."""
    first, second = (x[:, :30, :50] for x in frames())
    cut = jax.eval_shape(between, params(), first, second, TIMES)
    assert cut.frames.shape == (2, 2, 30, 50, 3) and cut.blends[0].shape == cut.frames.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge": "mixed"}, "merge is 'mixed'; accepted is exact or legacy"),
        ({"depths": (1, 1, 1)}, r"depths is \(1, 1, 1\); accepted is 5 whole numbers"),
        ({"channels": 6}, "channels is 6; accepted is a multiple of 4"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CONFIG, **options)
