"""Chunks, windows and colours against what the public code does, restated."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax.echomimic.chunks import SHARED, WINDOW, blend_windows, cut_chunks, cut_windows, join, window_fades
from actavatar_jax.echomimic.colours import lab_to_rgb, match_colours, rgb_to_lab

RNG = np.random.default_rng(0)


def spans(total, tail):
    return [(chunk.begin, chunk.frames) for chunk in cut_chunks(total, 113, 8, tail)]


@pytest.mark.parametrize(
    ("total", "want", "made"),
    [
        (113, [(0, 113)], 113),
        (114, [(0, 113)], 113),
        (117, [(0, 113), (105, 9)], 114),
        (200, [(0, 113), (105, 89)], 194),
        (249, [(0, 113), (105, 113), (210, 37)], 247),
        (33, [(0, 33)], 33),
    ],
)
def test_dropped_tails_are_the_public_ones(total, want, made):
    chunks = cut_chunks(total, 113, 8, "drop")
    assert [(chunk.begin, chunk.frames) for chunk in chunks] == want
    assert chunks[-1].end == made


def test_frames_of_the_public_code():
    """Of 4n + 1 asked for."""
    made = {total: cut_chunks(total, 113, 8, "drop")[-1].end for total in (201, 249, 1001)}
    assert made == {201: 198, 249: 247, 1001: 998}


@pytest.mark.parametrize(("most", "overlap"), [(113, 8), (81, 8), (9, 1), (9, 4), (161, 13)])
def test_padded_tails_cover_every_frame(most, overlap):
    for total in range(1, 3 * most):
        chunks = cut_chunks(total, most, overlap, "pad")
        assert 0 <= chunks[-1].end - total <= 3
        assert chunks[0].begin == chunks[0].known == 0
        for before, chunk in itertools.pairwise(chunks):
            assert chunk.begin == before.end - overlap
            assert chunk.known == overlap < chunk.frames
        assert all(chunk.frames % 4 == 1 and chunk.frames <= most for chunk in chunks)


def test_overlaps_are_faded():
    old, new = (RNG.integers(0, 256, (n, 2, 3, 3), np.uint8) for n in (11, 13))
    for fade, ramp in (("linspace", np.linspace(0, 1, 8)), ("open", np.arange(8) / 8)):
        got = join(old, new, 8, fade)
        assert got.shape == (16, 2, 3, 3)
        np.testing.assert_array_equal(got[:3], old[:3])
        np.testing.assert_array_equal(got[11:], new[8:])
        for i, r in enumerate(ramp):
            exact = old[3 + i] * (1 - r) + new[i] * r
            assert np.abs(got[3 + i] - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("latents", "want"),
    [
        (1, [(0, 1)]),
        (8, [(0, 8)]),
        (28, [(0, 28)]),
        (29, [(0, 29)]),
        (30, [(0, 29), (21, 30)]),
        (37, [(0, 29), (21, 37)]),
        (50, [(0, 29), (21, 50)]),
        (51, [(0, 29), (21, 50), (42, 51)]),
        (63, [(0, 29), (21, 50), (42, 63)]),
        (100, [(0, 29), (21, 50), (42, 71), (63, 92), (84, 100)]),
    ],
)
def test_windows(latents, want):
    assert cut_windows(latents) == want


@pytest.mark.parametrize("latents", [20, 29, 30, 51])
def test_blended_velocities_are_the_blended_latents_of_the_original(latents):
    """Two Euler steps, of which the first one overwrites."""
    windows, fades = cut_windows(latents), window_fades(2)
    theirs = ours = RNG.standard_normal((1, latents, 2, 2, 3))
    for step, move in enumerate((-0.3, -0.7)):
        velocities = [np.tanh((w + 1) * ours[:, a:b]) for w, (a, b) in enumerate(windows)]
        out = np.zeros_like(theirs)
        ramp = np.linspace(0, 1, SHARED)[None, :, None, None, None]
        for w, (a, b) in enumerate(windows):
            part = theirs[:, a:b] + move * np.tanh((w + 1) * theirs[:, a:b])
            if step >= 1 and a > 0:
                part[:, :SHARED] = part[:, :SHARED] * ramp + out[:, a : a + SHARED] * (1 - ramp)
            out[:, a:b] = part
        theirs = out
        velocity = blend_windows(windows, [jnp.asarray(v, jnp.float32) for v in velocities], fades[step])
        ours = ours + move * np.asarray(velocity, np.float64)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert WINDOW > 2 * SHARED, "three windows would have a frame in common"


def test_lab_is_opencvs():
    """And the way back to the levels by which OpenCV's tables are off."""
    cv2 = pytest.importorskip("cv2")
    rgb = RNG.integers(0, 256, (64, 64, 3), np.uint8)
    rgb[:4] = np.arange(256, dtype=np.uint8).reshape(4, 64, 1)
    want = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    np.testing.assert_array_equal(rgb_to_lab(rgb), want)
    back = np.abs(lab_to_rgb(want).astype(int) - cv2.cvtColor(want, cv2.COLOR_LAB2RGB))
    assert back.max() <= 2 and np.mean(back > 0) < 0.1


def test_frames_take_the_colours_of_the_first():
    cv2 = pytest.importorskip("cv2")
    base = RNG.integers(60, 180, (1, 32, 48, 3)).astype(np.float64)
    frames = np.concatenate([base, base * [1.1, 0.9, 1.0] + 8, 0.7 * base + 20]).clip(0, 255).astype(np.uint8)
    got = match_colours(frames)
    np.testing.assert_array_equal(got[0], frames[0])
    target = cv2.cvtColor(frames[0], cv2.COLOR_RGB2LAB)
    for before, after in zip(frames[1:], got[1:], strict=True):
        lab = cv2.cvtColor(before, cv2.COLOR_RGB2LAB)
        parts = []
        for c in range(3):
            mean, deviation = np.round(lab[..., c].mean(), 2), np.round(lab[..., c].std(), 2)
            wanted, spread = np.round(target[..., c].mean(), 2), np.round(target[..., c].std(), 2)
            parts.append(np.clip((lab[..., c] - mean) * (spread / deviation) + wanted, 0, 255).round())
        want = cv2.cvtColor(np.stack(parts, -1).astype(np.uint8), cv2.COLOR_LAB2RGB)
        off = np.abs(after.astype(int) - want)
        assert off.mean() < 0.5 and off.max() <= 6
        assert np.abs(after.mean((0, 1)) - frames[0].mean((0, 1))).max() < 2
    assert np.abs(frames[1].mean((0, 1)) - frames[0].mean((0, 1))).max() > 10


def test_flat_frames_have_no_deviation_to_scale():
    flat = np.full((2, 4, 4, 3), 90, np.uint8)
    flat[1] = 120
    np.testing.assert_allclose(match_colours(flat)[1], flat[0], atol=1)
    np.testing.assert_array_equal(match_colours(flat[:1]), flat[:1])
