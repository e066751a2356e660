"""Training the judge, on a world of squares that is drawn in no time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models import PatchCodec, PatchCodecConfig
from actavatar_jax.puppets.judge import Judge
from actavatar_jax.puppets.judge import training as judge_training
from actavatar_jax.puppets.judge.spoiling import blur, frame_numbers, recode, spoil
from actavatar_jax.puppets.judge.training import Example, Pool, Settings, train_judge

NAMES = ("up", "down")
CODEC = PatchCodecConfig(8)
TINY = Settings(steps=24, batch=4, frames=9, pool=8, fresh=1, learning_rate=3e-3, code_channels=8)


def squares(seed, frames=21):
    """A wall of one colour, a mouth that opens, and a square that goes up or down for a third of the time."""
    rng = np.random.default_rng(seed)
    pictures = np.empty((frames, 64, 64, 3), np.uint8)
    pictures[:] = rng.integers(40, 220, 3)
    action, start = int(rng.integers(1, 3)), int(rng.integers(0, frames - 7))
    shares = np.zeros((frames, 3), np.float32)
    shares[:, 0] = 1
    shares[start : start + 7] = np.eye(3)[action]
    opening = rng.uniform(0, 1, frames).astype(np.float32)
    for frame, amount in enumerate(opening):
        pictures[frame, 30 : 31 + round(8 * amount), 24:40] = 10
        row = {0: 28, 1: 8, 2: 48}[int(shares[frame].argmax())]
        pictures[frame, row : row + 8, 4:12] = 250
    hands = np.full((frames, 2, 2), 0.5, np.float32)
    return Example(pictures, shares, np.stack([opening, 0.5 * np.ones(frames, np.float32)], axis=1), hands)


def examples():
    return (squares(seed) for seed in range(10_000))


@pytest.fixture(scope="module")
def code():
    return functional.init(PatchCodec, CODEC, jax.random.key(0))


@pytest.fixture
def quick_codec(monkeypatch, code):
    """Fitting the linear code takes longer than this whole test."""
    monkeypatch.setattr(judge_training, "fit_codec", lambda pool, channels: code)


@pytest.mark.slow
def test_training_learns_and_repeats(quick_codec):
    kept = []
    judge = Judge(*train_judge(NAMES, examples(), TINY, kept.append, record_every=8))
    assert [record["step"] for record in kept] == [8, 16, 24]
    assert kept[-1]["loss"] < 0.7 * kept[0]["loss"] and kept[-1]["mouth"] < kept[0]["mouth"]
    assert judge(squares(20_000).frames).actions.shape == (21, 2)
    _, again = train_judge(NAMES, examples(), TINY)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, judge.params))


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run(quick_codec):
    broken = [e._replace(mouth=np.full_like(e.mouth, np.nan)) for e in map(squares, range(40))]
    with pytest.raises(FloatingPointError, match="the loss is nan at step 3"):
        train_judge(NAMES, iter(broken), TINY, record_every=3)


def test_the_linear_code_is_fitted_on_whole_groups_of_frames(monkeypatch):
    seen = []
    monkeypatch.setattr(judge_training, "fit_patch_codec", lambda *given: seen.append(given) or {})
    judge_training.fit_codec(Pool(squares(seed, frames=20) for seed in range(3)), 5, clips=2)
    ((clips, config),) = seen
    assert [clip.shape[0] for clip in clips] == [17, 17] and config == PatchCodecConfig(5)
    assert min(clip.min() for clip in clips) >= -1 and max(clip.max() for clip in clips) <= 1


def test_the_pool_replaces_the_oldest_and_cuts_picture_and_truth_alike():
    pool = Pool(squares(seed) for seed in range(4))
    pool.renew(squares(seed) for seed in (10, 11))
    pool.renew(squares(seed) for seed in (12,))
    expected = [10, 11, 12, 3]
    assert all(np.array_equal(clip.frames, squares(s).frames) for clip, s in zip(pool.clips, expected, strict=True))
    batch = pool.sample(np.random.default_rng(0), 4, 9)
    assert batch.frames.shape == (4, 9, 64, 64, 3) and batch.hands.shape == (4, 9, 2, 2)
    starts = [batch.mouth[i, 0, 0] == clip.mouth[0, 0] for i in range(4) for clip in pool.clips]
    assert sum(starts) < 4  # windows lie anywhere
    height = (batch.frames[:, :, 30:40, 30, 0] == 10).sum(axis=2)
    np.testing.assert_array_equal(height, 1 + np.round(8 * batch.mouth[..., 0]))


def test_windows_go_forward_and_freeze_only_at_rest():
    rng = np.random.default_rng(0)
    rest = np.ones(60)
    rest[20:40] = 0
    drawn = [frame_numbers(rng, rest, 33) for _ in range(400)]
    steps = np.array([np.diff(numbers) for numbers in drawn])
    assert steps.min() == 0 and all(n.min() >= 0 and n.max() < 60 for n in drawn)
    plain = (steps == 1).all(axis=1)
    stutter = (steps.max(axis=1) == 2) & (steps[:, 0] == 0) & (steps[:, 1] == 2) & (steps[:, 2] == 0)
    frozen = ~plain & ~stutter
    assert 0.55 < plain.mean() < 0.75 and 0.08 < stutter.mean() < 0.22 and 0.12 < frozen.mean() < 0.28
    for numbers in np.array(drawn)[frozen]:
        held = numbers[np.flatnonzero(np.diff(numbers) == 0)]
        assert len(set(held)) == 1 and rest[held[0]] == 1


# ---- what is done to pictures


def batch_of(count):
    return np.stack([squares(seed, 9).frames for seed in range(count)])


@pytest.mark.slow
def test_spoilt_pictures_differ_by_clip_and_some_keep_their_first_frame(code):
    frames = batch_of(24)
    spoilt = np.asarray(jax.jit(spoil, static_argnums=2)(jax.random.key(1), frames, CODEC, code))
    assert spoilt.shape == frames.shape and np.isfinite(spoilt).all()
    clean = frames / 127.5 - 1
    error = np.abs(spoilt - clean).mean(axis=(2, 3, 4))
    assert (error[:, 1:].min(axis=1) < 0.2).any() and error.max() > 0.25 and len(np.unique(error.round(6))) > 24
    # Colour apart, what is left of the first frame's error against the later ones' tells the kept ones.
    flat = spoilt - spoilt.mean(axis=(2, 3), keepdims=True)
    rough = np.abs(np.diff(flat[:, :, :, 44:], axis=3)).mean(axis=(2, 3, 4))
    kept = (rough[:, 0] < 0.2 * rough[:, 1:].mean(axis=1)) & (rough[:, 1:].mean(axis=1) > 0.01)
    assert 3 <= kept.sum() <= 18


@pytest.mark.slow
def test_recoding_with_all_components_and_no_errors_is_the_codes_own(code, monkeypatch):
    monkeypatch.setattr("actavatar_jax.puppets.judge.spoiling.LATENT_NOISE", 0.0)
    monkeypatch.setattr("actavatar_jax.puppets.judge.spoiling.FEWEST_COMPONENTS", 8)
    pixels = jnp.asarray(batch_of(2) / 127.5 - 1, jnp.float32)
    network = functional.bind(PatchCodec, CODEC, code)
    np.testing.assert_allclose(
        jax.jit(recode, static_argnums=2)(jax.random.key(0), pixels, CODEC, code),
        network.decode(network.encode(pixels)),
        atol=1e-5,
    )


def test_blur_keeps_means_and_widens_edges():
    point = jnp.zeros((2, 1, 33, 33, 3)).at[:, :, 16, 16].set(1.0)
    sigma = jnp.array([0.0, 1.5]).reshape(2, 1, 1, 1, 1)
    sharp, soft = np.asarray(blur(point, sigma))
    np.testing.assert_allclose(sharp, point[0], atol=1e-6)
    assert soft.sum() == pytest.approx(3, rel=1e-3)
    rows = (np.arange(33) - 16) ** 2
    assert soft[0, :, :, 0].sum(axis=1) @ rows == pytest.approx(1.5**2, rel=0.02)
    np.testing.assert_allclose(soft[0, :, :, 0], soft[0, :, :, 0].T, atol=1e-7)
