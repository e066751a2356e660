"""Layers and pixels of the networks that draw: the gradients are XLA's, warps point where they should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.models.motion import layers, pixels


def test_between_pixels_and_between_cells_a_warp_goes_in_straight_lines():
    y, x = np.mgrid[:16, :24].astype(np.float32)
    ramp = jnp.asarray(np.stack([y, x, y * x]))[None, :, None]  # bilinear: what is read between pixels is exact
    flow = np.zeros((1, 4, 6, 8), np.float32)
    flow[..., :4] = 0.3
    flow[..., 4:] = np.arange(6)[None, None, :, None] * 0.4 - 1
    (warped,) = pixels.warp(ramp, jnp.asarray(flow))
    inner = np.s_[2:-2, 2:-2]  # the outermost pixels are no neighbours of two cells
    at_y, at_x = (y + 0.3)[inner], (x + (x - 1.5) / 4 * 0.4 - 1)[inner]
    for plane, expected in zip(warped[0], (at_y, at_x, at_y * at_x), strict=True):
        for frame in plane:
            np.testing.assert_allclose(frame[inner], np.minimum(expected, 23 * 15), atol=1e-3)


@pytest.mark.slow
def test_gradients_reach_the_flow_and_not_the_first_frame():
    first = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 1, 16, 24, 3)), jnp.float32)
    first = pixels.to_planes(first)
    flow = jnp.asarray(np.random.default_rng(2).uniform(-3, 3, (2, 4, 6, 16)), jnp.float32)

    def squares(first, flow):
        return jnp.stack(pixels.warp(first, flow)) ** 2

    to_first, to_flow = jax.jit(jax.grad(lambda *parts: squares(*parts).sum(), (0, 1)))(first, flow)
    assert not to_first.any()
    uphill = 1e-3 * jnp.sign(to_flow)
    climbed = (squares(first, flow + uphill) - squares(first, flow - uphill)).sum()
    assert float(climbed) == pytest.approx(2e-3 * float(jnp.abs(to_flow).sum()), rel=0.02)


def test_it_sees_frames_and_first_frame_pixel_by_pixel():
    """Every value of a cell comes to a channel of its own: no two are mixed up or lost."""
    frames = np.arange(1 * 5 * 4 * 8 * 3, dtype=np.float32).reshape(1, 5, 4, 8, 3)
    cells = pixels.to_cells(jnp.asarray(frames), 2)
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

    ours, theirs = (jax.vjp(f, x, kernel) for f in (layers.convolve, plain))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    for mine, others in zip(ours[1](gradient), theirs[1](gradient), strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-4, atol=1e-4)


def test_cells_become_the_planes_that_they_were():
    frames = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 8, 12, 3)), jnp.float32)
    cells = pixels.to_cells(frames, 4).reshape(2, 2, 3, 4, 4, 4, 3)  # frame, row, column, colour
    planes = pixels.from_cells(jnp.moveaxis(cells, -1, 3).reshape(2, 2, 3, -1), 4, 4)
    np.testing.assert_array_equal(pixels.from_planes(planes), frames)
