"""Hundreds of ways in which a model folder is broken: each is one short sentence, before any weights are read."""

import contextlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from actavatar_jax import functional
from actavatar_jax.errors import InputError
from actavatar_jax.models import PRESETS
from actavatar_jax.puppets.recipe import SHIPPED
from actavatar_jax.weights import COMPONENTS, check_parts, folder, kind_of, load_defaults

TINY = PRESETS["tiny"]
WEIGHTS = {name: f"{name}/{kind_of(name, getattr(TINY, name)).stem}.safetensors" for name in COMPONENTS}
CONFIGS = {name: f"{name}/config.json" for name in COMPONENTS}
INDEX = "model_index.json"

WRONG = {  # for a value of this type
    int: (None, "many", -1, 0, 10**9, 0.5, True, [], {"a": 1}),
    float: (None, "many", -1, 10**9 * math.pi, math.nan, math.inf, True, [], {"a": 1}),
    bool: (None, "many", 1, 0.5, [], {"a": 1}),
    str: (None, "many", 1, [], {"a": 1}),
    list: (None, "many", 1, [], [0], [-1, -1], ["a"] * 3, [[1]], [10**9] * 7, {"a": 1}),
    dict: ("many", 1, [1], {"a": 1}),
}
# Keys that may have any value: they are of other programs, or None is one of theirs.
FREE = {
    *("added_kv_proj_dim", "image_dim", "pos_embed_seq_len", "rope_max_seq_len", "num_feat_extract_layers"),
    *("architectures", "dense_act_fn", "dropout_rate", "eos_token_id", "initializer_factor", "is_encoder_decoder"),
    *("is_gated_act", "pad_token_id", "decoder_start_token_id", "tie_word_embeddings", "use_cache", "decoder"),
}
NO_WEIGHTS = {
    "empty": b"",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 380267417\n",
    "page": b"<!DOCTYPE html>\n<html><title>404</title></html>",
    "answer": b'{"error": "Invalid username or password."}',
    "zip": b"PK\3\4" + bytes(100),
    "zeros": bytes(4096),
    "noise": np.random.default_rng(0).bytes(5000),
}
NO_JSON = {
    "empty": b"",
    "half": b"{",
    "list": b"[]",
    "number": b"1",
    "zeros": bytes(100),
    "utf-16": "{}".encode("utf-16"),
    "latin": b'{"a": "\xff"}',
    "double": b'{"a": 1, "a": 2}',
    "deep": b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "long": b'{"a": ' + b"1" * 5000 + b"}",
    "pointer": NO_WEIGHTS["pointer"],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A whole folder of small parts, all zeros."""
    path = tmp_path_factory.mktemp("m") / "model"
    for name in COMPONENTS:
        config = getattr(TINY, name)
        kind = kind_of(name, config)
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), functional.abstract(kind.module, config))
        folder.save(path, name, config, zeros)
    folder.save_index(path)
    shutil.copytree(SHIPPED / "tokenizer", path / "tokenizer")
    return path


def open_model(path):
    check_parts(path)
    load_defaults(path)


def told(path) -> str:
    """What is said of a broken folder; a failure for one that opens, and for any other error."""
    with pytest.raises(InputError) as error:
        open_model(path)
    sentence = str(error.value)
    assert "\n" not in sentence and len(sentence) <= 400 and sentence.endswith("."), sentence
    return sentence


def sentences(model, variants):
    """{name: what is said of it}, of `variants` (name, file, its content); the folder is whole again at the end."""
    found = {}
    for name, file, content in variants:
        whole = (model / file).read_bytes()
        (model / file).write_bytes(content)
        try:
            found[name] = told(model)
        except BaseException as error:
            raise AssertionError(f"{name}: {error!r}") from error
        finally:
            (model / file).write_bytes(whole)
    open_model(model)
    return found


def places(values, path=()):
    """(path of keys, value) of everything that a config says, also under its sections."""
    for key, value in values.items():
        if key not in FREE:
            yield (*path, key), value
            if isinstance(value, dict):
                yield from places(value, (*path, key))


def changed(values, path, value):
    key, *rest = path
    return values | {key: changed(values[key], rest, value) if rest else value}


@pytest.mark.parametrize("part", COMPONENTS)
def test_every_value_of_a_config_is_checked(model, part):
    values = json.loads((model / CONFIGS[part]).read_text())
    variants = [
        (f"{'.'.join(path)} = {wrong!r}", CONFIGS[part], json.dumps(changed(values, path, wrong)).encode())
        for path, value in places(values)
        for wrong in WRONG[type(value)]
        if wrong != value
    ]
    found = sentences(model, variants)
    assert len(found) == len(variants) > 30
    for name, sentence in found.items():
        key = name.split(" ")[0].split(".")[-1]
        assert "config.json" in sentence or "do not fit" in sentence, (name, sentence)
        assert any(word in sentence for word in (key, "do not fit", "describes", "no number")), (name, sentence)


@pytest.mark.parametrize("part", COMPONENTS)
def test_every_key_of_a_config_is_needed(model, part):
    values = json.loads((model / CONFIGS[part]).read_text())
    optional = {"actavatar", "hidden_act", "feat_extract_activation"}  # what they are where they are absent
    if part == "vae":
        optional |= set(values) - {"channels", "_class_name"}
    needed = [key for key in values if key not in FREE | optional]
    without = {key: json.dumps({name: x for name, x in values.items() if name != key}) for key in needed}
    found = sentences(model, [(key, CONFIGS[part], text.encode()) for key, text in without.items()])
    assert all("lacks" in sentence or "describe" in sentence for sentence in found.values())


def test_what_is_no_json(model):
    files = (*CONFIGS.values(), INDEX)
    variants = [(f"{file} {name}", file, content) for file in files for name, content in NO_JSON.items()]
    assert all(name.split()[0] in sentence for name, sentence in sentences(model, variants).items())


def test_what_is_no_file_of_weights(model):
    variants = [(f"{file} {name}", file, content) for file in WEIGHTS.values() for name, content in NO_WEIGHTS.items()]
    for file in WEIGHTS.values():
        whole = (model / file).read_bytes()
        variants += [(f"{file} {n}", file, whole[:n]) for n in (1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1)]
        variants.append((f"{file} longer", file, whole + b"\0"))
    found = sentences(model, variants)
    assert all(name.split()[0] in sentence for name, sentence in found.items())
    assert all("git lfs pull" in sentence for name, sentence in found.items() if name.endswith("pointer"))


@pytest.mark.parametrize("part", COMPONENTS)
def test_other_tensors(model, part, tmp_path):
    tensors = load_file(model / WEIGHTS[part])
    first, *_, last = (name for name in tensors if name != "masked_spec_embed")  # which may be absent
    broken = {
        "one is missing": {name: x for name, x in tensors.items() if name != first},
        "one is too many": tensors | {"stray": np.zeros(3, np.float32)},
        "one has another shape": tensors | {last: np.zeros((*tensors[last].shape, 2), np.float32)},
        "one is empty": tensors | {last: np.zeros((0, 3), np.float32)},
        "one is of whole numbers": tensors | {last: tensors[last].astype(np.int8)},
        "some have a prefix": {f"model.{name}" if name != last else name: x for name, x in tensors.items()},
        "all have a prefix and one is missing": {f"model.{name}": x for name, x in tensors.items() if name != last},
        "all have other names": {f"a{i}": x for i, x in enumerate(tensors.values())},
        "there are none": {},
    }
    variants = []
    for name, content in broken.items():
        save_file(content, tmp_path / "a")
        variants.append((name, WEIGHTS[part], (tmp_path / "a").read_bytes()))
    assert all(f"do not fit the {part} of" in sentence for sentence in sentences(model, variants).values())


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod.", "model.diffusion_model.", "module._orig_mod."])
@pytest.mark.parametrize("part", COMPONENTS)
def test_a_prefix_of_all_tensors_is_no_matter(model, part, prefix, tmp_path):
    path = shutil.copytree(model, tmp_path / "model")
    tensors = {name: np.full_like(x, i) for i, (name, x) in enumerate(load_file(path / WEIGHTS[part]).items())}
    save_file(tensors, path / WEIGHTS[part])
    want = functional.flatten(folder.load(path, part).params)
    save_file({f"{prefix}{name}": x for name, x in tensors.items()}, path / WEIGHTS[part])
    open_model(path)
    got = functional.flatten(folder.load(path, part).params)
    assert got.keys() == want.keys()
    for name, leaf in want.items():
        np.testing.assert_array_equal(got[name], leaf, err_msg=name)


def test_other_indexes(model):
    values = json.loads((model / INDEX).read_text())
    wrong = {name: values | {name: ["diffusers", "UNet2DConditionModel"]} for name in COMPONENTS}
    wrong |= {f"{name} odd": values | {name: "odd"} for name in COMPONENTS}
    wrong["transformer_2"] = values | {"transformer_2": ["diffusers", "WanTransformer3DModel"]}
    wrong["2 frames"] = values | {"actavatar": {"num_frames": 2}}
    wrong["its defaults"] = values | {"actavatar": 3}
    found = sentences(model, [(name, INDEX, json.dumps(content).encode()) for name, content in wrong.items()])
    assert all(name.removesuffix(" odd") in sentence and INDEX in sentence for name, sentence in found.items())


def test_what_stands_in_the_place_of_a_file(model, tmp_path):
    for file in (*CONFIGS.values(), *WEIGHTS.values(), INDEX):
        for kind, make in STANDING.items():
            path = shutil.copytree(model, tmp_path / "model")
            (path / file).unlink()
            make(path / file)
            sentence = told(path)
            assert file.split("/")[0] in sentence, (file, kind, sentence)
            shutil.rmtree(path)


STANDING = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a dead link": lambda path: path.symlink_to("/gone/blob"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
}


def test_parts_that_are_not_there(model, tmp_path):
    assert "no model folder" in told(tmp_path / "none")
    assert "no model folder" in told(model / INDEX)
    assert "cannot be read" in told(tmp_path / ("a" * 300))
    for name in COMPONENTS:
        path = shutil.copytree(model, tmp_path / name)
        shutil.rmtree(path / name)
        assert f"holds no {name}" in told(path)


def test_what_may_not_be_read(model):
    with tempfile.TemporaryDirectory() as place:  # into which another user may look
        os.chmod(place, 0o755)
        path = shutil.copytree(model, Path(place) / "model")
        for name in (*CONFIGS.values(), *WEIGHTS.values(), INDEX, *COMPONENTS):
            (path / name).chmod(0)
            with somebody():
                assert "cannot be read (Permission denied)" in told(path)
            (path / name).chmod(0o755)


@contextlib.contextmanager
def somebody():
    """Runs as a user who is not root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_flipped_bits_of_a_header(model):
    """The folder opens or is refused in a sentence; nothing else happens, and nothing large is allocated."""
    rng, path = np.random.default_rng(1), model / WEIGHTS["audio_encoder"]
    whole = path.read_bytes()
    length = 8 + int.from_bytes(whole[:8], "little")
    refused = 0
    for at, bit in zip(rng.integers(0, length, 80), rng.integers(0, 8, 80), strict=True):
        content = bytearray(whole)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        try:
            open_model(model)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) <= 400
            refused += 1
    path.write_bytes(whole)
    assert refused > 40
