"""Model folders that are made of others: what is wrong with those is told first, and nothing is lost at the end."""

import shutil

import jax
import numpy as np
import pytest

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS
from actavatar_jax.models.avatar import ActAvatarDiT
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.runs import exporting
from actavatar_jax.runs.exporting import export_model, write_model
from actavatar_jax.runs.opening import open_network
from actavatar_jax.weights import check_parts, folder, load_defaults
from configs import stage2

CONFIG = PRESETS["tiny"].transformer


@pytest.fixture
def base(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "base")


@pytest.fixture
def params():
    shapes = functional.abstract(ActAvatarDiT, CONFIG)
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)


def test_a_dead_link_is_told_before_a_training_and_an_export(base, tmp_path, monkeypatch):
    (base / "tokenizer" / "spiece.model").symlink_to("/gone/blob")
    config = stage2.get_config("runlocal")
    config.model.update({"folder": str(base), "preset": ""})
    monkeypatch.setattr(folder, "load", lambda *_, **__: pytest.fail("weights were read"))
    for start in (lambda: open_network(config), lambda: export_model(base, tmp_path / "out")):
        with pytest.raises(InputError, match=r"spiece\.model is a link to /gone/blob, where there is no file"):
            start()
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_links_become_the_files_that_they_lead_to(base, tmp_path):
    """As in a cache of the Hugging Face hub, whose files are links."""
    file = base / "tokenizer" / "tokenizer.json"
    file.symlink_to(file.rename(tmp_path / "blob"))
    export_model(base, tmp_path / "out")
    copied = tmp_path / "out" / "tokenizer" / "tokenizer.json"
    assert not copied.is_symlink() and copied.read_bytes() == (tmp_path / "blob").read_bytes()
    assert check_parts(tmp_path / "out") == check_parts(base)


def test_an_index_that_cannot_be_made_is_told_before_weights_are_read(base, tmp_path):
    (base / "vae" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"vae/config\.json is no JSON"):
        export_model(base, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_destination_that_cannot_be_is_told_before_weights_are_read(base, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "load", lambda *_, **__: pytest.fail("weights were read"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"out cannot be made: .*file is no folder that may be written"):
        export_model(base, tmp_path / "file" / "out")
    (tmp_path / "link").symlink_to("/gone")
    with pytest.raises(InputError, match="is there already"):
        export_model(base, tmp_path / "link")


def test_two_exports_into_one_folder(base, tmp_path, monkeypatch):
    """The second one is told while the first one works; the first one ends well."""
    told = []

    def load(*arguments, do=folder.load, **options):
        if not told:
            with pytest.raises(InputError, match="is being changed by process") as error:
                export_model(base, tmp_path / "out")
            told.append(error.value)
        return do(*arguments, **options)

    monkeypatch.setattr(folder, "load", load)
    export_model(base, tmp_path / "out")
    assert told and check_parts(tmp_path / "out") == check_parts(base)


def test_what_vanished_during_a_training_does_not_take_the_model_with_it(base, tmp_path, params):
    (base / "vae" / "config.json").unlink()
    (base / "vae" / "config.json").symlink_to("/gone/blob")
    (base / "model_index.json").write_text("{")
    with pytest.raises(InputError, match=r"model is written, but not all of it: .*config.json.*(index|1 more)"):
        write_model(tmp_path / "model", str(base), CONFIG, params)
    part = folder.load(tmp_path / "model", "transformer")
    assert part.config == CONFIG and all((leaf == 1).all() for leaf in jax.tree.leaves(part.params))
    assert (tmp_path / "model" / "audio_encoder" / "model.safetensors").is_file()


def test_a_model_that_is_written_again_is_there_all_the_time(base, tmp_path, params, monkeypatch):
    write_model(tmp_path / "model", str(base), CONFIG, params)
    seen = []

    def copy(*paths, do=exporting.copy_folder):
        seen.append((tmp_path / "model" / "transformer" / "config.json").is_file())
        do(*paths)

    monkeypatch.setattr(exporting, "copy_folder", copy)
    write_model(tmp_path / "model", str(base), CONFIG, params)
    assert seen and all(seen) and load_defaults(tmp_path / "model").world == load_defaults(base).world
