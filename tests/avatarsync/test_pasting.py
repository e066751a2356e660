"""Frames pasted into a portrait: still parts are the portrait's, what moves is the frame's."""

import numpy as np
import pytest

from actavatar_jax.avatarsync.pasting import CHANGED, UNCHANGED, Paste


@pytest.fixture
def paste():
    """A portrait with a texture, of which the tokenizer keeps little."""
    rng = np.random.default_rng(0)
    portrait = np.clip(0.5 + 0.1 * rng.standard_normal((64, 64, 3)), 0, 1).astype(np.float32)
    return Paste(portrait, np.full_like(portrait, 0.5))


def test_what_has_not_changed_is_the_portrait(paste):
    np.testing.assert_array_equal(paste(paste.decoded), paste.portrait)
    # All of a frame is a little off, as normalisation over the picture has it.
    np.testing.assert_array_equal(paste(paste.decoded + np.float32(0.9 * UNCHANGED)), paste.portrait)


def test_what_has_changed_is_the_frame_with_a_soft_edge_around_it(paste):
    frame = paste.decoded.copy()
    frame[40:50, 20:44] += 2 * CHANGED
    made, share = paste(frame), paste.share(frame)
    np.testing.assert_allclose(made[42:48, 23:41], frame[42:48, 23:41], atol=1e-3)
    np.testing.assert_array_equal(made[:32], paste.portrait[:32])
    np.testing.assert_array_equal(made[:, :12], paste.portrait[:, :12])
    edge = share[45, 41:52]
    assert share.min() == 0 and share.max() == pytest.approx(1) and (np.diff(edge) <= 1e-6).all() and 0 < edge[5] < 1


def test_twice_as_large_pictures_have_twice_as_wide_edges(paste):
    def width(side):
        decoded = np.full((side, side, 3), 0.5, np.float32)
        frame = decoded.copy()
        frame[:, : side // 2] += 2 * CHANGED
        return (Paste(decoded, decoded).share(frame)[side // 2] > 0.01).sum() - side // 2

    assert width(256) == pytest.approx(4 * width(64), abs=4)
