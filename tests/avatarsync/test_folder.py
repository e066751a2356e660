"""A model folder: what is saved comes back, and parts that do not fit are refused in one sentence."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from actavatar_jax.avatarsync import AvatarSyncPipeline, KeyframeSampling, open_parts, save_parts
from actavatar_jax.avatarsync.folder import Parts
from actavatar_jax.errors import InputError
from tests.avatarsync.tiny import tiny_part, tiny_parts

SAMPLING = KeyframeSampling(top_k=3, guidance=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("avatarsync") / "model"
    save_parts(folder, tiny_parts(sampling=SAMPLING))
    return folder


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "model")


def rewrite(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_saved_comes_back(folder):
    there, parts = open_parts(folder), tiny_parts(sampling=SAMPLING)
    assert there.sampling == SAMPLING
    for name in ("tokenizer", "keyframes", "interpolator"):
        ours, theirs = getattr(parts, name), getattr(there, name)
        assert ours.network == theirs.network
        jax.tree.map(np.testing.assert_array_equal, ours.params, theirs.params)


def test_the_level_of_units_is_kept(folder, tmp_path):
    save_parts(tmp_path, tiny_parts(level="words", units=4096))
    assert AvatarSyncPipeline(open_parts(tmp_path)).level == "words"
    assert AvatarSyncPipeline(open_parts(folder)).level == "phonemes"
    values = json.loads((folder / "keyframes" / "config.json").read_text())
    del values["level"]  # as before there were words
    folder = copied(folder, tmp_path)
    (folder / "keyframes" / "config.json").write_text(json.dumps(values))
    assert AvatarSyncPipeline(open_parts(folder)).level == "phonemes"
    for units in (64, 4097):  # ids of words depend on how many there are
        with pytest.raises(InputError, match=f"know {units} units and with words there are 4096"):
            tiny_parts(level="words", units=units)
    with pytest.raises(InputError, match="level is 'syllables'; accepted is phonemes or words"):
        tiny_part("keyframes", level="syllables")


def test_parts_of_different_sizes_are_refused(folder, tmp_path):
    keyframes = tiny_part("keyframes", vocabulary=64, tokens=(2, 2))
    with pytest.raises(InputError, match=r"64 codes and the tokenizer has 32; .*\[2, 2\] tokens and"):
        dataclasses.replace(tiny_parts(), keyframes=keyframes)
    folder = copied(folder, tmp_path)
    rewrite(folder / "tokenizer" / "config.json", bits=6)
    with pytest.raises(InputError, match="of 32 codes and the tokenizer has 64"):
        open_parts(folder)
    with pytest.raises(InputError, match="know 8 units and there are 5"):
        dataclasses.replace(tiny_parts(), keyframes=tiny_part("keyframes", units=8))


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("model_index.json", {"_class_name": "Other"}, "is no model folder of AvatarSync"),
        ("model_index.json", {"sampling": {"top_p": 1}}, "has an entry 'top_p'; accepted is"),
        ("model_index.json", {"sampling": {"top_k": 0}}, "top_k is 0"),
        ("units.json", {"names": ["pad", "null", "sil"]}, None),
        ("units.json", {"names": ["pad", "sil", "null"], "version": 7}, r"other units \(version 7\)"),
        ("units.json", {"names": 3}, "names of .* is 3; accepted is a list"),
        ("keyframes/config.json", {"layers": 3}, "the keyframes of"),
        ("keyframes/config.json", {"_class_name": "LFQConfig"}, "accepted is KeyframeConfig"),
        ("interpolator/config.json", {"channels": 6}, "channels is 6; accepted is a multiple of 4"),
    ],
)
def test_files_that_are_not_right(folder, tmp_path, file, changes, words):
    folder = copied(folder, tmp_path)
    rewrite(folder / file, **changes)
    if words is None:  # units that were added since are no harm
        open_parts(folder)
        return
    with pytest.raises(InputError, match=words):
        open_parts(folder)


def test_a_part_that_is_missing(folder, tmp_path):
    folder = copied(folder, tmp_path)
    (folder / "interpolator" / "model.safetensors").unlink()
    with pytest.raises(InputError, match="interpolator"):
        open_parts(folder)
    with pytest.raises(InputError, match="is no model folder"):
        open_parts(tmp_path)


def test_parts_have_to_be_all_there():
    with pytest.raises(TypeError):
        Parts(tokenizer=tiny_part("tokenizer"), keyframes=tiny_part("keyframes"), sampling=SAMPLING)
