"""The face network against a restatement in PyTorch, through the names of its files, float32."""

import re

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.models.iresnet import IResNet, IResNetConfig
from actavatar_jax.weights.names import Arrays, check_coverage, import_params, their_shape
from actavatar_jax.weights.tables.iresnet import UNUSED, arcface_torch

torch = pytest.importorskip("torch")
from tests.evaluation.originals import random_weights  # noqa: E402
from tests.models import original_iresnet  # noqa: E402

NARROW = IResNetConfig(depths=(1, 2, 1, 1), width=4, embedding=16)


def waves(side):
    """One picture, in any size."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return np.stack([np.sin(7 * x), np.cos(9 * y), np.sin(5 * x + 4 * y)], axis=-1).astype(np.float32)[None]


def test_embeddings_are_those_of_the_original():
    theirs = random_weights(original_iresnet.IResNet(NARROW.depths, NARROW.width, NARROW.embedding))
    for name, gain in theirs.state_dict().items():
        if gain.ndim == 1 and name.endswith(".weight"):
            gain.abs_().add_(0.5)  # lets signals through
    state = {name: x.numpy() for name, x in theirs.state_dict().items() if not re.fullmatch(UNUSED, name)}
    params = import_params(arcface_torch(NARROW), functional.abstract(IResNet, NARROW), Arrays(state))
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 112, 112, 3)).astype(np.float32)
    with torch.no_grad():
        want = theirs(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    embed = jax.jit(lambda params, x: functional.bind(IResNet, NARROW, params)(x), compiler_options=functional.RUN_ONCE)
    got = np.asarray(embed(params, pixels))
    assert got.shape == (2, 16) and want.std(axis=0).max() > 0.01
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    own, larger = (np.asarray(embed(params, waves(side))) for side in (112, 224))
    np.testing.assert_allclose(larger, own, atol=0.02 * np.abs(own).max())


def test_the_published_size():
    """That of fifty layers; nothing is allocated on either side."""
    with torch.device("meta"):
        state = original_iresnet.IResNet().state_dict()
    want = {name: tuple(x.shape) for name, x in state.items() if not re.fullmatch(UNUSED, name)}
    shapes, table = functional.abstract(IResNet, IResNetConfig()), arcface_torch(IResNetConfig())
    check_coverage(table, shapes)
    flat = functional.flatten(shapes)
    assert {entry.theirs: their_shape(entry, flat[entry.ours].shape) for entry in table} == want
    learned = {name: leaf for name, leaf in flat.items() if not name.endswith(("/mean", "/variance"))}
    assert functional.count(learned) == 43_590_848
