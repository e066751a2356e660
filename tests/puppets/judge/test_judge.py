"""The judge's network and its files; what a trained one sees is in test_trained_judge.py."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.puppets.judge import Judge, JudgeConfig, load_judge, save_judge
from actavatar_jax.puppets.judge.network import PuppetJudge, resized

ACTIONS = tuple(f"action {i}" for i in range(20))
CONFIG = JudgeConfig(ACTIONS)


@pytest.fixture(scope="module")
def judge():
    draw = jax.jit(functional.init, static_argnums=(0, 1), compiler_options=functional.RUN_ONCE)
    return Judge(CONFIG, draw(PuppetJudge, CONFIG, jax.random.key(0)))


def noise(frames, side=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), np.uint8)


def test_what_it_says_of_a_clip(judge):
    seen = judge(noise(31))
    assert seen.names == ACTIONS and seen.actions.shape == (31, 20)
    assert seen.actions.min() >= 0 and seen.actions.sum(axis=1).max() < 1  # the rest is no action
    assert seen.opening.shape == seen.width.shape == (31,)
    assert min(seen.opening.min(), seen.width.min()) >= 0 and max(seen.opening.max(), seen.width.max()) <= 1
    assert seen.hands.shape == (31, 2, 2)
    assert np.linalg.norm(seen.embeddings, axis=1) == pytest.approx(1, abs=1e-3)


def test_output_0_is_no_action(judge):
    flat = functional.flatten(judge.params)
    for output, expected in ((0, None), (3, 2)):
        flat["actions/bias"] = 50.0 * jnp.eye(21)[output]
        seen = Judge(CONFIG, functional.unflatten(flat))(noise(3)).actions
        assert seen.argmax(axis=1).tolist() == [expected] * 3 if expected else seen.max() < 1e-6


def test_mouth_hands_and_appearance_are_of_the_frame_itself(judge):
    frames = noise(31)
    seen, back = judge(frames), judge(frames[::-1].copy())
    np.testing.assert_allclose(back.opening[::-1], seen.opening, atol=1e-5)
    np.testing.assert_allclose(back.hands[::-1], seen.hands, atol=1e-5)
    np.testing.assert_allclose(back.embeddings[::-1], seen.embeddings, atol=1e-5)


def test_actions_are_of_21_frames(judge):
    frames = noise(31)
    changed = frames.copy()
    changed[15] = 0
    difference = np.abs(judge(changed).actions - judge(frames).actions).max(axis=1)
    assert np.flatnonzero(difference > 1e-7).tolist() == list(range(5, 26))


@pytest.mark.slow
def test_clips_of_a_batch_do_not_mix(judge):
    pixels = jnp.asarray(np.stack([noise(9, seed=s) for s in (1, 2)]) / 127.5 - 1, jnp.float32)
    network = functional.bind(PuppetJudge, CONFIG, judge.params)
    for both, alone in zip(network(pixels), network(pixels[1:]), strict=True):
        np.testing.assert_allclose(both[1], alone[0], atol=1e-4)


def test_larger_pictures_are_averaged_down(judge):
    large = noise(3, 128)
    means = large.reshape(3, 64, 2, 64, 2, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(resized(large), means, atol=1e-3)
    ramp = np.tile(np.arange(96, dtype=np.uint8)[None, :, None, None], (1, 1, 96, 3))
    np.testing.assert_allclose(resized(ramp)[0, :, 0, 0], 1.5 * np.arange(64) + np.tile([1 / 3, 1 / 6], 32), atol=1e-4)
    doubled = noise(3).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(judge(doubled).actions, judge(noise(3)).actions, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 24, 24, 3), (3, 64, 96, 3)])
def test_pictures_of_other_shapes_are_refused(judge, shape):
    with pytest.raises(InputError, match=r"The judge got frames of \d+x\d+ pixels; accepted are square ones"):
        judge(np.zeros(shape, np.uint8))


def test_files_bring_back_the_same_judge(judge, tmp_path):
    save_judge(tmp_path / "judge", CONFIG, judge.params)
    loaded = load_judge(tmp_path / "judge")
    assert loaded.config == CONFIG
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params, jax.device_get(judge.params)))
    assert sum(file.stat().st_size for file in (tmp_path / "judge").iterdir()) < 2_000_000
    assert 250_000 < functional.count(judge.params) < 400_000


def test_broken_folders_are_named(judge, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        load_judge(tmp_path / "nowhere")
    save_judge(tmp_path, CONFIG, judge.params)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | {"actions": ["one"]}))
    with pytest.raises(InputError, match=r"actions.kernel has shape \[21, 96\], expected \[2, 96\]|actions.*expected"):
        load_judge(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"actions": "one"}))
    with pytest.raises(InputError, match=r"is no judge's; expected a list of actions"):
        load_judge(tmp_path)
    wider = dataclasses.replace(CONFIG, width=32)
    with pytest.raises(ValueError, match="disagree"):
        save_judge(tmp_path, wider, judge.params)
