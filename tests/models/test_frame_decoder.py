"""FrameDecoder: it starts as the linear decode, every candidate can be had, warps point where they should."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import FrameDecoder, FrameDecoderConfig, frame_decoder

CONFIGS = [
    FrameDecoderConfig(widths=(8, 12), shuffle=2),
    FrameDecoderConfig(widths=(8, 12), shuffle=4, warps=1, found=3, fixed=1),
    FrameDecoderConfig(widths=(6, 8, 10), shuffle=2, warps=3, found=2, fixed=2),
]


def pictures(height=16, width=24, seed=0):
    """(linear decode, clean first frame) of two groups."""
    rng = np.random.default_rng(seed)
    linear, first = rng.uniform(-1, 1, (2, 4, height, width, 3)), rng.uniform(-1, 1, (2, height, width, 3))
    return jnp.asarray(linear, jnp.float32), jnp.asarray(first, jnp.float32)


def decode(config, params, linear, first):
    return jax.jit(lambda params: functional.bind(FrameDecoder, config, params)(linear, first))(params)


@functools.cache
def drawn_parameters(config):
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    return draw(FrameDecoder, config, jax.random.key(0))


def fresh(config):
    return jax.tree.map(lambda leaf: leaf, drawn_parameters(config))


def choosing(config, candidate):
    """Parameters that take one candidate everywhere, in its place in (linear, first, warps ..., palette ...)."""
    params, cell = fresh(config), config.shuffle
    planes = np.zeros((2 + config.warps + config.found + config.fixed, 4, cell, cell), np.float32)
    planes[candidate] = 80
    params["mix"]["linear"] = {
        "kernel": 0 * params["mix"]["linear"]["kernel"],
        "bias": jnp.asarray(planes.reshape(-1)),
    }
    return params


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_it_starts_as_very_nearly_the_linear_decode(config):
    linear, first = pictures()
    difference = np.abs(decode(config, fresh(config), linear, first) - linear)
    assert 0 < difference.mean() < 0.05
    assert difference.max() < 0.2


@pytest.mark.parametrize("config", CONFIGS)
def test_the_linear_decode_and_the_first_frame_can_be_had_as_they_are(config):
    linear, first = pictures()
    np.testing.assert_allclose(decode(config, choosing(config, 0), linear, first), linear, atol=1e-6)
    still = np.broadcast_to(first[:, None], linear.shape)
    np.testing.assert_allclose(decode(config, choosing(config, 1), linear, first), still, atol=1e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_colour_of_the_palette_can_be_had(config):
    linear, first = pictures()
    palette = functional.bind(FrameDecoder, config, fresh(config)).palette(first)
    assert palette.shape == (2, config.found + config.fixed, 3)
    for number in range(palette.shape[1]):
        drawn = decode(config, choosing(config, 2 + config.warps + number), linear, first)
        np.testing.assert_allclose(drawn, np.broadcast_to(palette[:, number, None, None, None], drawn.shape), atol=1e-5)


def test_colours_are_those_of_the_first_frame_that_are_nearest_to_the_wanted_ones():
    config, params = CONFIGS[1], fresh(CONFIGS[1])
    red, green, wall = np.float32([0.9, -0.8, -0.8]), np.float32([-0.7, 0.8, -0.6]), np.float32([0.1, 0.2, 0.4])
    first = np.tile(wall, (1, 16, 24, 1))
    first[:, 4:9, 5:11], first[:, 10:12, 3:13] = red, green
    params["wanted"] = jnp.asarray([[1.0, -1, -1], [-1, 1, -1], [0, 0, 1]])
    palette = functional.bind(FrameDecoder, config, params).palette(jnp.asarray(first))[0]
    np.testing.assert_allclose(palette[:3], [red, green, wall], atol=0.02)
    np.testing.assert_array_equal(palette[3:], params["colours"])


@pytest.mark.parametrize("config", CONFIGS)
def test_every_warp_has_a_flow_of_its_own_for_every_frame(config):
    linear, first = pictures()
    last = config.warps - 1
    params = choosing(config, 2 + last)
    flow = np.zeros((2, config.warps, 4), np.float32)
    flow[0, last], flow[1, last] = (0, 1, 2, 3), (0, -2, -4, -6)
    params["flow"]["linear"]["kernel"] *= 0
    params["flow"]["linear"]["bias"] = jnp.asarray(flow.reshape(-1)) / frame_decoder.FLOW_CELL
    drawn = np.asarray(decode(config, params, linear, first))
    rows, columns = np.mgrid[:16, :24]
    for frame in range(4):  # beyond its edges the picture goes on as it ends
        expected = first[:, np.clip(rows + frame, 0, 15), np.clip(columns - 2 * frame, 0, 23)]
        np.testing.assert_allclose(drawn[:, frame], expected, atol=1e-5)


def test_between_pixels_and_between_cells_a_warp_goes_in_straight_lines():
    y, x = np.mgrid[:16, :24].astype(np.float32)
    ramp = jnp.asarray(np.stack([y, x, y * x]))[None, :, None]  # bilinear: what is read between pixels is exact
    flow = np.zeros((1, 4, 6, 8), np.float32)
    flow[..., :4] = 0.3
    flow[..., 4:] = np.arange(6)[None, None, :, None] * 0.4 - 1
    (warped,) = frame_decoder.warp(ramp, jnp.asarray(flow))
    inner = np.s_[2:-2, 2:-2]  # the outermost pixels are no neighbours of two cells
    at_y, at_x = (y + 0.3)[inner], (x + (x - 1.5) / 4 * 0.4 - 1)[inner]
    for plane, expected in zip(warped[0], (at_y, at_x, at_y * at_x), strict=True):
        for frame in plane:
            np.testing.assert_allclose(frame[inner], np.minimum(expected, 23 * 15), atol=1e-3)


@pytest.mark.slow
def test_gradients_reach_the_flow_and_not_the_first_frame():
    first = frame_decoder.to_planes(pictures()[1][:, None])
    flow = jnp.asarray(np.random.default_rng(2).uniform(-3, 3, (2, 4, 6, 16)), jnp.float32)

    def squares(first, flow):
        return jnp.stack(frame_decoder.warp(first, flow)) ** 2

    to_first, to_flow = jax.jit(jax.grad(lambda *parts: squares(*parts).sum(), (0, 1)))(first, flow)
    assert not to_first.any()
    uphill = 1e-3 * jnp.sign(to_flow)
    climbed = (squares(first, flow + uphill) - squares(first, flow - uphill)).sum()
    assert float(climbed) == pytest.approx(2e-3 * float(jnp.abs(to_flow).sum()), rel=0.02)


def test_two_warps_are_not_taught_alike():
    config = CONFIGS[0]
    linear, first = pictures()

    def loss(params):
        return jnp.abs(functional.bind(FrameDecoder, config, params)(linear, first) - linear[::-1]).mean()

    gradient = jax.jit(jax.grad(loss))(fresh(config))["flow"]["linear"]["kernel"].reshape(-1, 2, 2, 4)
    assert np.abs(gradient[:, :, 0] - gradient[:, :, 1]).max() > 0.1 * np.abs(gradient).max()


def test_it_sees_frames_and_first_frame_pixel_by_pixel():
    """Every value of a cell comes to a channel of its own: no two are mixed up or lost."""
    frames = np.arange(1 * 5 * 4 * 8 * 3, dtype=np.float32).reshape(1, 5, 4, 8, 3)
    cells = frame_decoder.to_cells(jnp.asarray(frames), 2)
    assert cells.shape == (1, 2, 4, 5 * 2 * 2 * 3)
    np.testing.assert_array_equal(cells[0, 1, 2].reshape(5, 2, 2, 3), frames[0, :, 2:4, 4:6])


@pytest.mark.parametrize("shape", [(3, 6, 10, 5, 7), (1, 8, 8, 16, 4)])
def test_the_gradients_of_a_convolution_are_those_of_xla(shape):
    N, H, W, C, D = shape
    rng = np.random.default_rng(4)
    x, kernel, gradient = (
        jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((N, H, W, C), (3, 3, C, D), (N, H, W, D))
    )

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    ours, theirs = (jax.vjp(f, x, kernel) for f in (frame_decoder.convolve, plain))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    for mine, others in zip(ours[1](gradient), theirs[1](gradient), strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_whole_picture_is_seen():
    """What is drawn in a corner depends, through the coarser stages, on all corners."""
    config = FrameDecoderConfig(widths=(6, 8, 10), shuffle=2)
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * rng.standard_normal(leaf.shape, np.float32), fresh(config))
    linear, first = pictures(16, 16)
    before = decode(config, params, linear, first)[:, :, 0, 0]
    after = decode(config, params, linear, first.at[:, -1, -1].add(0.5))[:, :, 0, 0]
    assert np.abs(after - before).min(axis=(1, 2)).min() > 0


@pytest.mark.parametrize("shape", [(20, 24), (16, 12)])
def test_wrong_sides_are_refused(shape):
    config = FrameDecoderConfig(widths=(4, 4, 4), shuffle=2)
    linear, first = pictures(*shape)
    with pytest.raises(InputError, match=f"frames of {shape[0]}x{shape[1]}; it takes sides in multiples of 8"):
        functional.bind(FrameDecoder, config, fresh(config))(linear, first)


@pytest.mark.parametrize(
    "wrong", [{"shuffle": 3}, {"warps": 0}, {"found": 0}, {"fixed": 0}, {"widths": (8,)}, {"widths": (8, 0)}]
)
def test_wrong_sizes_are_refused(wrong):
    with pytest.raises(InputError, match=r"The frame decoder.s .*; accepted is"):
        FrameDecoderConfig(**wrong)
