"""Broken safetensors files: errors that say what is wrong with which file."""

import json

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.weights import Safetensors, write_sharded
from actavatar_jax.weights.names import Arrays


def broken(tmp_path):
    """A sharded folder to break, and its index."""
    write_sharded(tmp_path, "model", Arrays({name: np.arange(8.0) for name in "abc"}), max_shard_bytes=60)
    index = tmp_path / "model.safetensors.index.json"
    return index, json.loads(index.read_text()), sorted(tmp_path.glob("*.safetensors"))


def test_missing_shard(tmp_path):
    index, _, shards = broken(tmp_path)
    shards[1].unlink()
    with pytest.raises(InputError, match=f"missing beside it: {shards[1].name}"):
        Safetensors(index)


def test_index_of_absent_tensors(tmp_path):
    index, value, shards = broken(tmp_path)
    value["weight_map"]["ghost"] = shards[0].name
    index.write_text(json.dumps(value))
    with pytest.raises(InputError, match="not in their shards: ghost"):
        Safetensors(index)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"a": "../a.safetensors"}}'])
def test_broken_index(tmp_path, content):
    index, _, _ = broken(tmp_path)
    index.write_text(content)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        Safetensors(index)


def header(value) -> bytes:
    text = json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1", "no safetensors file"),
        ((99).to_bytes(8, "little") + b"{", "cut off in its header"),
        ((4).to_bytes(8, "little") + b"{{{{", "broken safetensors header"),
        ((2).to_bytes(8, "little") + b"[]", "broken safetensors header"),
        (header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}) + b"\0" * 7, "is cut off"),
        (header({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}) + b"\0" * 8, "does not fill"),
        (header({"a": {"dtype": "Q7", "shape": [3], "data_offsets": [0, 8]}}) + b"\0" * 8, "'Q7'"),
        (header({"a": {"dtype": "F32", "shape": [2]}}), "'data_offsets'"),
    ],
)
def test_broken_file(tmp_path, content, problem):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as error:
        Safetensors(path)
    assert "model.safetensors" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        Safetensors(tmp_path / "model.safetensors")
