"""Public weights of the parts: files as their authors write them, with random numbers in sizes of a toy."""

import re

import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.avatarsync import InterpolatorConfig, LFQConfig, import_part, open_part
from actavatar_jax.avatarsync.folder import MODULES
from actavatar_jax.avatarsync.interpolation.names import vfimamba
from actavatar_jax.avatarsync.tokenizer.names import averaged, open_magvit
from actavatar_jax.errors import InputError
from actavatar_jax.weights import names
from tests.avatarsync.drawn import random_params
from tests.avatarsync.test_page import blocks
from tests.commands import actavatar

torch = pytest.importorskip("torch")

TOKENIZER = LFQConfig(channels=32, multipliers=(1, 2, 4), blocks=2, bits=5)
INTERPOLATOR = InterpolatorConfig(channels=8, depths=(1, 2, 1, 2, 1), merge="legacy")
COMMANDS = blocks("bash")[-1]


def tensors(table, params):
    return {name: torch.from_numpy(np.array(x)) for name, x in names.export_params(table, params)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(folder, parameters by part): a training's checkpoint, and a bare dict of a network on several devices."""
    place = tmp_path_factory.mktemp("files")
    params = {
        "tokenizer": random_params(MODULES["tokenizer"], TOKENIZER),
        "interpolator": random_params(MODULES["interpolator"], INTERPOLATOR),
    }
    table = open_magvit(TOKENIZER)
    plain = {name: torch.zeros_like(x) for name, x in tensors(table, params["tokenizer"]).items()}
    judged = {"loss.discriminator.main.0.weight": torch.zeros(4, 3, 4, 4)}
    state = plain | judged | tensors(averaged(table), params["tokenizer"])
    torch.save({"epoch": 3, "global_step": 7, "state_dict": state}, place / "pretrain256_16384.ckpt")
    wrapped = {f"module.{name}": x for name, x in tensors(vfimamba(INTERPOLATOR), params["interpolator"]).items()}
    torch.save(wrapped, place / "model.pkl")
    return place, params


def test_the_page_reads_both_files_whatever_their_sizes(files, monkeypatch, capsys):
    place, params = files
    monkeypatch.chdir(place)
    for line in COMMANDS.splitlines():
        assert actavatar(*re.sub("#.*", "", line).split()[1:]) == 0
    said = capsys.readouterr().out
    for name, config in (("tokenizer", TOKENIZER), ("interpolator", INTERPOLATOR)):
        part = open_part(place / "parts", name)
        assert part.config == config and f"wrote parts/{name}: {functional.count(part.params):,} numbers" in said
        wanted, found = functional.flatten(params[name]), functional.flatten(part.params)
        assert wanted.keys() == found.keys() and all(np.array_equal(wanted[key], found[key]) for key in wanted)


def test_weights_without_averages_are_taken_as_they_are(files, tmp_path):
    _, params = files
    torch.save(tensors(open_magvit(TOKENIZER), params["tokenizer"]), tmp_path / "plain.pth")
    _, part = import_part(tmp_path / "plain.pth", tmp_path)
    found, wanted = (of["encoder"]["conv_in"]["kernel"] for of in (part.params, params["tokenizer"]))
    np.testing.assert_array_equal(found, wanted)


def test_other_files_are_refused(files, tmp_path):
    place, _ = files
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other.pth has no encoder.conv_in.weight and no feature_bone"):
        import_part(tmp_path / "other.pth", tmp_path)
    state = torch.load(place / "model.pkl", weights_only=True)
    state.pop("module.unet.conv.bias")
    torch.save(state, tmp_path / "less.pkl")
    with pytest.raises(InputError, match=r"interpolator in .*less.pkl.*unet\.conv\.bias"):
        import_part(tmp_path / "less.pkl", tmp_path / "out")
    assert not (tmp_path / "out" / "interpolator").exists()
