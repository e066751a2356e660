"""A grown transformer says what it said, and its new parts can learn."""

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.puppets.growing import LAST, grow_folder, grow_transformer
from actavatar_jax.weights import Component
from actavatar_jax.weights import folder as folders
from tests.models.avatar.test_dit import CONFIG, INPUTS, LATENTS, TIMES, randomised, run

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def small():
    return Component(ActAvatarDiT, CONFIG, randomised(CONFIG))


@pytest.mark.parametrize(("layers", "ffn"), [(CONFIG.layers, 2 * CONFIG.ffn), (CONFIG.layers + 2, CONFIG.ffn + 3)])
def test_it_says_what_it_said_before(small, layers, ffn):
    grown = grow_transformer(small, layers, ffn, CONFIG.heads)
    assert (grown.config.layers, grown.config.ffn) == (layers, ffn)
    expected = run(CONFIG, small.params)
    np.testing.assert_allclose(run(grown.config, grown.params), expected, rtol=1e-4, atol=1e-5)


def test_a_wider_stream_says_nearly_what_it_said_before(small):
    """Norms mind the new values, and nothing else does."""
    grown = grow_transformer(small, CONFIG.layers, CONFIG.ffn, CONFIG.heads + 1)
    assert (grown.config.heads, grown.config.width) == (CONFIG.heads + 1, CONFIG.width + CONFIG.head_dim)
    expected = run(CONFIG, small.params)
    missed = run(grown.config, grown.params) - expected
    assert np.sqrt((missed**2).mean() / (expected**2).mean()) < 0.3


def test_what_is_new_in_the_stream_is_as_large_as_what_is_old_and_something_else(small):
    """Copies would learn what their originals learn."""
    grown = functional.flatten(grow_transformer(small, CONFIG.layers, CONFIG.ffn, CONFIG.heads + 1).params)
    kernel = np.asarray(grown["patch_embedding/kernel"])
    new, first = kernel[:, CONFIG.width :], kernel[:, : CONFIG.head_dim]
    assert np.abs(new - first).max() > 0.1 * np.abs(first).max()
    np.testing.assert_array_equal(np.sort(new, axis=0), np.sort(first, axis=0))


def gradient_of(grown):
    @jax.jit
    @jax.grad
    def gradient(params):
        model = functional.bind(ActAvatarDiT, grown.config, params)
        return (model(LATENTS, TIMES, model.condition(**INPUTS, grid=LATENTS.shape[1:4])) ** 2).sum()

    return gradient(grown.params)


def test_a_wider_stream_learns(small):
    """Whatever reads it, at once."""
    grown = grow_transformer(small, CONFIG.layers, CONFIG.ffn, CONFIG.heads + 1)
    gradient = functional.flatten(gradient_of(grown))
    old = functional.flatten(small.params)
    for name, values in gradient.items():
        if name.endswith("/kernel") and values.shape[-2] > old[name].shape[-2]:
            assert np.abs(values[..., old[name].shape[-2] :, :]).max() > 0, name


def test_whatever_is_new_learns(small):
    """The last kernels at once; what is before them, once those are no longer zero."""
    grown = grow_transformer(small, CONFIG.layers + 1, 2 * CONFIG.ffn, CONFIG.heads)
    gradient = gradient_of(grown)["blocks"]
    for name in LAST:
        part, last = name.split("/")
        assert np.abs(gradient[part][last]["kernel"][-1]).max() > 0, name
    assert np.abs(gradient["ffn"]["down"]["kernel"][0, CONFIG.ffn :]).max() > 0


def test_a_folder_is_grown_where_it_has_to_be(small, tmp_path):
    folders.save(tmp_path, "transformer", CONFIG, functional.cast(small.params, "bfloat16"))
    [file] = tmp_path.rglob("*.safetensors")
    before = file.read_bytes()
    grow_folder(tmp_path, CONFIG.layers, CONFIG.ffn, CONFIG.heads)
    assert file.read_bytes() == before
    grow_folder(tmp_path, CONFIG.layers, CONFIG.ffn + 4, CONFIG.heads)
    assert folders.load(tmp_path, "transformer").config.ffn == CONFIG.ffn + 4


def test_it_does_not_shrink(small):
    has = f"{CONFIG.layers} blocks with {CONFIG.heads} heads and FFNs of {CONFIG.ffn}"
    with pytest.raises(InputError, match=f"of {has} cannot be grown to 1 "):
        grow_transformer(small, 1, CONFIG.ffn, CONFIG.heads)
    with pytest.raises(InputError, match=f"of {has} cannot be grown to .* with 1 heads "):
        grow_transformer(small, CONFIG.layers, CONFIG.ffn, 1)
