"""The networks that measure against restatements in PyTorch, through the names of their files, float32."""

import re

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.evaluation import features
from actavatar_jax.functional import Network
from actavatar_jax.models.i3d import I3D, I3DConfig
from actavatar_jax.models.inception import InceptionConfig, InceptionV3
from actavatar_jax.models.lpips import LPIPS, LPIPSConfig
from actavatar_jax.weights.names import Arrays, export_params, import_params, their_shape
from actavatar_jax.weights.tables import i3d as i3d_table
from actavatar_jax.weights.tables import inception as inception_table
from actavatar_jax.weights.tables import lpips as lpips_table

torch = pytest.importorskip("torch")

from tests.evaluation import originals  # noqa: E402

pytestmark = pytest.mark.usefixtures("quick_compilation")

TOLERANCE = 1e-5


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def to_torch(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def relative_error(got, want):
    assert got.shape == want.shape
    return np.abs(np.asarray(got) - want).max() / np.abs(want).max()


def read(network, table, *models):
    state = {name: x.numpy() for model in models for name, x in model.state_dict().items()}
    used = {entry.theirs for entry in table}
    abstract = functional.abstract(network.module, network.config)
    return import_params(table, abstract, Arrays({name: x for name, x in state.items() if name in used}))


def run(network, params, *inputs):
    """In batches of the sizes of `small_networks`, so that what is compiled here is not compiled there again."""
    (found,) = features.run_batches(network, params, zip(*inputs, strict=True), len(inputs[0]))
    return found


def test_inception_gives_the_features_of_the_original():
    """The last block has 2x2 places, all of which are at a border."""
    theirs, network = originals.random_weights(originals.Inception(16)), Network(InceptionV3, InceptionConfig(16))
    params = read(network, inception_table.pytorch_fid(network.config), theirs)
    x = pixels(4, 107, 107, 3)
    with torch.no_grad():
        want = theirs(to_torch(x)).numpy()
    assert want.shape == (4, network.config.features) and want.std(axis=0).max() > 0.01
    assert relative_error(run(network, params, x), want) < TOLERANCE


@pytest.mark.slow
def test_full_inception_gives_the_features_of_the_original():
    theirs, network = originals.random_weights(originals.Inception()), Network(InceptionV3, InceptionConfig())
    params = read(network, inception_table.pytorch_fid(network.config), theirs)
    x = pixels(1, 299, 299, 3)
    with torch.no_grad():
        want = theirs(to_torch(x)).numpy()
    assert want.shape == (1, 2048)
    assert relative_error(run(network, params, x), want) < TOLERANCE


def test_i3d_gives_the_logits_of_the_original():
    """The ten frames become five, three and two: even and odd numbers pad otherwise."""
    theirs = originals.random_weights(originals.I3D(8, side=64))
    network = Network(I3D, I3DConfig(8))
    params = read(network, i3d_table.pytorch_i3d(network.config), theirs)
    x = pixels(2, 10, 64, 64, 3)
    with torch.no_grad():
        want = theirs(to_torch(x)).numpy()
    assert want.shape == (2, 400) and want.std() > 0.01
    assert relative_error(run(network, params, x), want) < TOLERANCE


def test_lpips_gives_the_distances_of_the_original():
    trunk, heads = (originals.random_weights(part(16)) for part in (originals.AlexNet, originals.Heads))
    network = Network(LPIPS, LPIPSConfig(16))
    params = read(network, lpips_table.alex(network.config), trunk, heads)
    x, y = pixels(8, 40, 48, 3), pixels(8, 40, 48, 3, seed=1)
    with torch.no_grad():
        want = originals.lpips(trunk, heads, to_torch(x), to_torch(y)).numpy()
    got = run(network, params, x, y)
    assert want.min() > 0.01
    assert relative_error(got, want) < TOLERANCE
    np.testing.assert_array_equal(run(network, params, x, x), 0)


FULL = {
    "inception": (InceptionV3, InceptionConfig(), inception_table.pytorch_fid, inception_table.UNUSED, 94 * 5),
    "i3d": (I3D, I3DConfig(), i3d_table.pytorch_i3d, i3d_table.UNUSED, 57 * 5 + 2),
    "lpips": (LPIPS, LPIPSConfig(), lpips_table.alex, lpips_table.UNUSED, 15),
}


@pytest.mark.parametrize("name", FULL)
def test_full_size_has_the_names_and_shapes_of_the_file(name):
    """Nothing is allocated on either side."""
    module, config, table, unused, tensors = FULL[name]
    with torch.device("meta"):
        parts = {
            "inception": [originals.Inception],
            "i3d": [originals.I3D],
            "lpips": [originals.AlexNet, originals.Heads],
        }
        states = [part().state_dict() for part in parts[name]]
    want = {n: tuple(x.shape) for state in states for n, x in state.items() if not re.fullmatch(unused, n)}
    abstract = functional.flatten(functional.abstract(module, config))
    got = {entry.theirs: their_shape(entry, abstract[entry.ours].shape) for entry in table(config)}
    assert got == want and len(got) == tensors


@pytest.mark.parametrize("name", ["i3d", "lpips"])
def test_tables_run_backwards(name):
    """That of Inception is made as that of I3D."""
    module, config, table, *_ = FULL[name]
    config = type(config)(8)  # `narrowing`
    abstract = functional.abstract(module, config)
    params = jax.tree.map(lambda x: np.arange(x.size, dtype=np.float32).reshape(x.shape), abstract)
    exported = dict(export_params(table(config), params))
    again = import_params(table(config), abstract, Arrays(exported))
    for ours, leaf in functional.flatten(params).items():
        np.testing.assert_array_equal(functional.flatten(again)[ours], leaf)


def shape_of(module, config, *shapes):
    """Of what the network gives for inputs of these shapes; nothing is computed."""
    inputs = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    forward = lambda params, *x: functional.bind(module, config, params)(*x)  # noqa: E731
    return jax.eval_shape(forward, functional.abstract(module, config), *inputs).shape


def test_smallest_pictures_go_through_and_smaller_ones_are_refused():
    assert shape_of(InceptionV3, InceptionConfig(16), (1, 75, 75, 3)) == (1, 128)
    with pytest.raises(InputError, match="Inception got pictures of 80x74; accepted are sides from 75 on"):
        shape_of(InceptionV3, InceptionConfig(16), (1, 74, 80, 3))
    assert shape_of(LPIPS, LPIPSConfig(16), (2, 31, 31, 3), (2, 31, 31, 3)) == (2,)
    with pytest.raises(InputError, match="LPIPS got pictures of 30x40; accepted are sides from 31 on"):
        shape_of(LPIPS, LPIPSConfig(16), (1, 40, 30, 3), (1, 40, 30, 3))
    with pytest.raises(InputError, match="I3D got 9 frames; accepted are at least 10"):
        shape_of(I3D, I3DConfig(8), (1, 9, 64, 64, 3))
    with pytest.raises(InputError, match="narrowing is 3"):
        InceptionConfig(3)
