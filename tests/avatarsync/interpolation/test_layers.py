"""Layers of the interpolator against PyTorch's."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from actavatar_jax.avatarsync.interpolation.layers import Doubling, pixel_shuffle, resize, warp
from actavatar_jax.models import Execution

torch = pytest.importorskip("torch")
from tests.avatarsync.interpolation import original  # noqa: E402 - it is written in PyTorch

pytestmark = pytest.mark.usefixtures("quick_compilation")

X = np.random.default_rng(0).standard_normal((2, 4, 6, 8)).astype(np.float32)


def theirs(x):
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def ours(x):
    return x.permute(0, 2, 3, 1).numpy()


def test_doubling_is_a_transposed_convolution():
    layer = Doubling(8, 3, Execution(), rngs=nnx.Rngs(0))
    layer.bias[...] = jnp.asarray([1.0, 2.0, 3.0])
    kernel = torch.from_numpy(np.array(layer.kernel[...])).permute(2, 3, 0, 1)
    want = torch.nn.functional.conv_transpose2d(theirs(X), kernel, torch.tensor([1.0, 2, 3]), stride=2, padding=1)
    np.testing.assert_allclose(layer(jnp.asarray(X)), ours(want), atol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.25, 2, 4])
def test_resizing_does_not_smooth(scale):
    np.testing.assert_allclose(
        resize(jnp.asarray(X[:, :4, :4]), scale), ours(original._resize(theirs(X[:, :4, :4]), scale)), atol=1e-5
    )


def test_pixel_shuffle_has_pytorch_s_order():
    want = torch.nn.functional.pixel_shuffle(theirs(X), 2)
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(X)), ours(want))


def test_warping_by_whole_pixels_shifts_and_ends_at_the_edges():
    flow = jnp.broadcast_to(jnp.asarray([2.0, -1.0]), (2, 4, 6, 2))
    rows, columns = np.clip(np.arange(4) - 1, 0, 3), np.clip(np.arange(6) + 2, 0, 5)
    np.testing.assert_allclose(warp(jnp.asarray(X), flow), X[:, rows][:, :, columns], atol=1e-6)


def test_warping_between_pixels_is_pytorch_s():
    flow = np.random.default_rng(1).normal(size=(2, 4, 6, 2), scale=3).astype(np.float32)
    want = original._warp(theirs(X), theirs(flow))
    np.testing.assert_allclose(warp(jnp.asarray(X), jnp.asarray(flow)), ours(want), atol=1e-5)
