"""The selective scan and the orders in which a pair of frames is read."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.avatarsync.interpolation.orders import (
    column_slots,
    interleave,
    merge_orders,
    read_in_four_orders,
    separate,
)
from actavatar_jax.avatarsync.interpolation.scan import selective_scan

pytestmark = pytest.mark.usefixtures("quick_compilation")

B, L, D, N = 2, 37, 3, 4


def inputs():
    rng = np.random.default_rng(0)
    shapes = {"u": (B, L, D), "delta": (B, L, D), "a": (D, N), "b": (B, L, N), "c": (B, L, N), "skip": (D,)}
    drawn = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    return drawn | {"delta": np.abs(drawn["delta"]), "a": -np.abs(drawn["a"]) * 3}


def loop(u, delta, a, b, c, skip):
    """One step after the other."""

    def step(state, part):
        u, delta, b, c = part
        state = jnp.exp(delta[..., None] * a[None]) * state + (delta * u)[..., None] * b[:, None]
        return state, (state * c[:, None]).sum(-1) + skip[None] * u

    parts = tuple(jnp.moveaxis(part, 1, 0) for part in (u, delta, b, c))
    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros((B, D, N)), parts)[1], 0, 1)


def test_chunks_are_the_loop_forwards_and_backwards():
    """Though the length is no multiple of a chunk."""
    weights = jnp.asarray(np.random.default_rng(1).standard_normal((B, L, D)), jnp.float32)

    def both(scan):
        def weighed(given):
            y = scan(**given)
            return (y * weights).sum(), y

        return jax.jit(jax.value_and_grad(weighed, has_aux=True))(jax.tree.map(jnp.asarray, inputs()))

    ((value, y), gradients), ((want, want_y), want_gradients) = both(partial(selective_scan, chunk=8)), both(loop)
    np.testing.assert_allclose(y, want_y, atol=2e-6)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    for name, gradient in gradients.items():
        scale = np.abs(want_gradients[name]).max()
        np.testing.assert_allclose(gradient, want_gradients[name], atol=2e-6 * scale, err_msg=name)


def test_steps_that_forget_everything_do_no_harm():
    given = inputs() | {"a": np.full((D, N), -1e6, np.float32)}
    found = selective_scan(**jax.tree.map(jnp.asarray, given), chunk=64)
    now = (given["delta"] * given["u"]) * (given["b"] * given["c"]).sum(-1, keepdims=True)
    np.testing.assert_allclose(found, now + given["skip"] * given["u"], atol=1e-4)


# ---- orders

P, H, W = 2, 3, 5
PAIRS = jnp.asarray(np.random.default_rng(2).standard_normal((P, 2, H, W, D)), jnp.float32)


def test_tokens_of_both_frames_are_interleaved():
    sequence = interleave(PAIRS)
    for slot in range(2 * H * W):
        place, frame = divmod(slot, 2)
        np.testing.assert_array_equal(sequence[:, slot], PAIRS[:, frame, place // W, place % W])
    np.testing.assert_array_equal(separate(sequence, H, W), PAIRS)


def test_four_orders_and_the_way_back():
    rows, columns, rows_back, columns_back = orders = read_in_four_orders(PAIRS)
    np.testing.assert_array_equal(columns[:, 2], PAIRS[:, 0, 1, 0])  # the second place is below the first
    np.testing.assert_array_equal(rows_back[:, 0], rows[:, -1])
    np.testing.assert_array_equal(columns_back[:, ::-1], columns)
    np.testing.assert_allclose(merge_orders(orders, H, W, "exact"), 4 * PAIRS, rtol=1e-6)


def test_the_legacy_merge_mixes_places_as_the_original_does():
    torch = pytest.importorskip("torch")
    columns = read_in_four_orders(PAIRS)[1]
    as_theirs = torch.from_numpy(np.array(columns)).permute(0, 2, 1).reshape(P, D, 2, W, H)
    want = as_theirs.transpose(-1, -2).reshape(P, D, -1).permute(0, 2, 1).numpy()
    np.testing.assert_array_equal(columns[:, column_slots(H, W, "legacy")], want)
    slots = np.arange(2 * 4 * 6)
    right = column_slots(4, 6, "exact") == column_slots(4, 6, "legacy")
    assert sorted(column_slots(4, 6, "legacy")) == slots.tolist() and 0 < right.mean() < 0.3
