"""PatchTokens: the test tokenizer is exact about what it says it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync.tokenizer import PatchTokens, PatchTokensConfig, fit_patch_tokens
from actavatar_jax.errors import InputError

pytestmark = pytest.mark.usefixtures("quick_compilation")

CONFIG = PatchTokensConfig(patch=4, tokens=(2, 3), codes=5)


@pytest.fixture(scope="module")
def pictures():
    """Twenty pictures that are five different ones, and noise upon them."""
    rng = np.random.default_rng(0)
    kinds = rng.uniform(-0.9, 0.9, (5, 8, 12, 3))
    return (np.tile(kinds, (4, 1, 1, 1)) + rng.normal(size=(20, 8, 12, 3), scale=0.01)).astype(np.float32)


@pytest.fixture(scope="module")
def tokenizer(pictures):
    params = fit_patch_tokens(CONFIG, pictures, seed=1)
    return functional.bind(PatchTokens, CONFIG, jax.tree.map(jnp.asarray, params))


def test_every_patch_becomes_the_nearest_of_its_place(tokenizer, pictures):
    tokens = np.asarray(tokenizer.encode(jnp.asarray(pictures)))
    assert tokens.shape == (20, 2, 3)
    means = np.asarray(tokenizer.means[...])
    for row, column in np.ndindex(2, 3):
        patches = pictures[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(20, 1, -1)
        distances = ((patches - means[row, column]) ** 2).sum(-1)
        np.testing.assert_array_equal(tokens[:, row, column], distances.argmin(1))
    error = np.abs(tokenizer.decode(jnp.asarray(tokens)) - pictures).mean()
    assert error < 0.5 * np.abs(pictures.mean(0) - pictures).mean()


def test_tokens_of_decoded_tokens_are_the_same(tokenizer):
    tokens = jnp.asarray(np.random.default_rng(2).integers(0, 5, (6, 2, 3)))
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)


def test_a_token_changes_its_own_patch_alone(tokenizer):
    tokens = jnp.zeros((1, 2, 3), jnp.int32)
    changed = tokens.at[0, 1, 2].set(3)
    difference = np.abs(tokenizer.decode(tokens) - tokenizer.decode(changed)).max(-1)[0]
    assert difference[4:, 8:].max() > 0 and not difference[:4].any() and not difference[:, :8].any()


def test_one_hot_codes_are_tokens_and_means_are_means(tokenizer):
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, 5, (2, 2, 3)))
    one_hot = jnp.eye(5)[tokens]
    np.testing.assert_allclose(tokenizer.decode_codes(one_hot), tokenizer.decode(tokens), atol=1e-6)
    between = tokenizer.decode_codes(one_hot.mean(0, keepdims=True))
    np.testing.assert_allclose(between, np.asarray(tokenizer.decode(tokens)).mean(0, keepdims=True), atol=1e-6)


def test_too_few_pictures_and_other_sizes_are_refused(pictures):
    with pytest.raises(InputError, match="4 pictures for 5 codes"):
        fit_patch_tokens(CONFIG, pictures[:4])
    with pytest.raises(InputError, match="everything has its place in those of 8x12"):
        fit_patch_tokens(CONFIG, pictures[:, :, :8])
