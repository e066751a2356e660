"""The audio adapter's alignment, scale and identity."""

import jax
import numpy as np
import pytest
from flax import nnx

from actavatar_jax import functional
from actavatar_jax.models import Execution
from actavatar_jax.models.avatar import AudioAdapterConfig
from actavatar_jax.models.avatar.audio_adapter import AudioProjection, depth_scale, feature_windows

CONFIG = AudioAdapterConfig(feature_layers=2, feature_width=4, hidden=8, tokens=3, token_width=8)


@pytest.fixture(scope="module")
def projection():
    return AudioProjection(CONFIG, Execution(), rngs=nnx.Rngs(0))


def test_depth_scale_counts_blocks_from_one():
    scale = depth_scale(30, 1.5)
    assert scale[0] == pytest.approx(30**-1.5)
    assert scale[-1] == 1
    assert scale[[4, 9, 14, 19, 24]] == pytest.approx([0.0680, 0.1925, 0.3536, 0.5443, 0.7607], abs=5e-5)
    assert depth_scale(30, 0.0).tolist() == [1.0] * 30


def test_windows_are_the_eight_features_around_each_group():
    assert feature_windows(3).tolist() == [[-1, 0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8, 9, 10]]


def test_a_feature_reaches_only_the_latents_whose_window_holds_it(projection):
    features = jax.random.normal(jax.random.key(0), (1, 17, 2, 4))
    before = projection(features, 5)
    for frame in range(17):
        after = projection(features.at[:, frame].add(1), 5)
        changed = {i for i in range(5) if not np.array_equal(before[:, i], after[:, i])}
        windows = np.clip(feature_windows(5), 0, 16)
        assert changed == {i + 1 for i in range(4) if frame in windows[i]} | ({0} if frame <= 2 else set())


def test_published_projection_has_the_published_shapes():
    shapes = functional.flatten(functional.abstract(_FullProjection, AudioAdapterConfig()))
    assert shapes["first/kernel"].shape == (46_080, 512)
    assert shapes["rest/kernel"].shape == (73_728, 512)
    assert shapes["tokens/kernel"].shape == (512, 32 * 768)


class _FullProjection(AudioProjection):
    def __init__(self, config, *, rngs):
        super().__init__(config, Execution(), rngs=rngs)
