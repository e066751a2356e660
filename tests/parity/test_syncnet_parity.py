"""SyncNet against its definition in PyTorch, all weights random, in a file under the names of its authors'."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models.syncnet import SyncNet, SyncNetConfig
from actavatar_jax.synchrony import syncnet
from actavatar_jax.weights.names import export_params, their_shape
from actavatar_jax.weights.tables import syncnet as table

CONFIG = SyncNetConfig(lips=(6, 7, 5, 8, 9, 10), sound=(4, 7, 5, 8, 6, 9), hidden=12, features=16)
POOL = None  # in the place of a width
LIPS = [  # width, kernel, stride, padding
    (96, (5, 7, 7), (1, 2, 2), 0),
    (POOL, (1, 3, 3), (1, 2, 2), 0),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
    (POOL, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    *[(256, (1, 3, 3), 1, (0, 1, 1))] * 3,
    (POOL, (1, 3, 3), (1, 2, 2), 0),
    (512, (1, 6, 6), 1, 0),
]
SOUND = [
    (64, (3, 3), 1, 1),
    (POOL, (1, 1), 1, 0),
    (192, (3, 3), 1, 1),
    (POOL, (3, 3), (1, 2), 0),
    *[(width, (3, 3), 1, 1) for width in (384, 256, 256)],
    (POOL, (3, 3), (2, 2), 0),
    (512, (5, 4), 1, 0),
]


def tower(layers, inputs, widths):
    """In a `Sequential`, which numbers its members as the authors' does."""
    members, widths = [], iter(widths)
    for published, kernel, stride, padding in layers:
        flat = len(kernel) == 2
        if published is POOL:
            members.append((nn.MaxPool2d if flat else nn.MaxPool3d)(kernel, stride, padding))
            continue
        width = next(widths)
        members.append((nn.Conv2d if flat else nn.Conv3d)(inputs, width, kernel, stride, padding))
        members += [(nn.BatchNorm2d if flat else nn.BatchNorm3d)(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*members)


class Original(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.netcnnlip, self.netcnnaud = tower(LIPS, 3, config.lips), tower(SOUND, 1, config.sound)
        self.netfclip, self.netfcaud = (self.head(widths[-1], config) for widths in (config.lips, config.sound))

    def head(self, width, config):
        hidden = nn.Linear(width, config.hidden), nn.BatchNorm1d(config.hidden), nn.ReLU()
        return nn.Sequential(*hidden, nn.Linear(config.hidden, config.features))

    def lips(self, windows):
        return self.netfclip(self.netcnnlip(windows).flatten(1)).numpy()

    def sound(self, windows):
        return self.netfcaud(self.netcnnaud(windows).flatten(1)).numpy()


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    model = Original(CONFIG).eval().requires_grad_(False)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.ndim == 1:
            value.normal_(1 if name.endswith("weight") else 0, 0.3)
        elif value.ndim:
            value.normal_(0, (2 / value[0].numel()) ** 0.5)
    model.netcnnlip[1].running_var.mul_(5000)  # pixels are 0 to 255
    return model


@pytest.fixture(scope="module")
def loaded(original, tmp_path_factory):
    """From a file as PyTorch wrote it when the published one was made: no archive, and no counts of steps."""
    path = tmp_path_factory.mktemp("weights") / "syncnet_v2.model"
    state = {name: value for name, value in original.state_dict().items() if "num_batches" not in name}
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return syncnet.load_syncnet(path)


def close(found, expected):
    error = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    assert found.shape == expected.shape and error < 1e-5
    assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max()  # windows are not all the same


def test_lips_of_a_whole_clip_are_those_of_its_windows(original, loaded):
    """More frames than are seen at once."""
    faces = np.random.default_rng(0).integers(0, 256, (syncnet.AT_ONCE + 9, 224, 224, 3), np.uint8)
    blue_first = torch.from_numpy(faces[..., ::-1].transpose(3, 0, 1, 2).astype(np.float32))
    chosen = [0, 1, syncnet.AT_ONCE - 1, syncnet.AT_ONCE, syncnet.AT_ONCE + 4]
    expected = original.lips(torch.stack([blue_first[:, i : i + 5] for i in chosen]))
    found = loaded.see(faces)
    assert len(found) == len(faces) - 4
    close(found[chosen], expected)


def test_windows_that_are_apart_are_the_same(loaded):
    faces = np.random.default_rng(2).integers(0, 256, (3 * (syncnet.AT_ONCE + 1) + 1, 224, 224, 3), np.uint8)
    for every in (3, 5):
        close(loaded.see(faces, every), loaded.see(faces)[::every])


def test_sound_is_the_same(original, loaded):
    cepstra = np.random.default_rng(1).normal(0, 10, (syncnet.AT_ONCE + 3, 13, 20))
    close(loaded.hear(cepstra), original.sound(torch.from_numpy(cepstra[:, None].astype(np.float32))))


def test_a_file_with_counts_of_steps_is_the_same_and_comes_back(original, loaded, tmp_path):
    torch.save(original.state_dict(), tmp_path / "newer.pth")
    again = syncnet.load_syncnet(tmp_path / "newer.pth")
    assert again.network == loaded.network and again.network.config == CONFIG
    state = {name: value for name, value in original.state_dict().items() if "num_batches" not in name}
    exported = dict(export_params(table.original(CONFIG), again.params))
    assert exported.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(exported[name], value.numpy(), err_msg=name)


def test_the_published_sizes_are_the_defaults():
    abstract = functional.flatten(functional.abstract(SyncNet, SyncNetConfig()))
    shapes = {e.theirs: their_shape(e, abstract[e.ours].shape) for e in table.original(SyncNetConfig())}
    with torch.device("meta"):
        published = Original(SyncNetConfig()).state_dict()
    assert shapes == {name: tuple(value.shape) for name, value in published.items() if "num_batches" not in name}
    assert published["netcnnlip.0.weight"].shape[0] == LIPS[0][0] and SyncNetConfig().sound[2] == SOUND[4][0]


def test_another_file_is_refused_in_one_sentence(original, tmp_path):
    state = original.state_dict()
    state["netcnnlip.8.weight"] = torch.zeros(5, 7, 3, 3)
    state["extra.bias"] = state.pop("netfcaud.3.bias")
    torch.save(state, tmp_path / "other.model")
    with pytest.raises(InputError) as error:
        syncnet.load_syncnet(tmp_path / "other.model")
    assert str(error.value) == (
        f"3 tensors do not fit the SyncNet of {tmp_path / 'other.model'}: missing netfcaud.3.bias; unknown extra.bias; "
        "netcnnlip.8.weight has shape [5, 7, 3, 3], expected [5, 7, 1, 3, 3]."
    )


@pytest.mark.parametrize("shape", [(4, 224, 224, 3), (5, 112, 224, 3)])
def test_faces_of_another_size_or_too_few_are_refused(loaded, shape):
    with pytest.raises(InputError, match=f"SyncNet got {shape[0]} pictures of 224x{shape[1]}; accepted are 5 or more"):
        loaded.network.bind(loaded.params).lips(jnp.zeros(shape))
