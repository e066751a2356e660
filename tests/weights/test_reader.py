"""Broken safetensors files: errors that say what is wrong with which file."""

import json
import os

import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.weights import Safetensors, header, write_sharded
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


def framed(value) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text


def file_of(size: int = 8, **tensors) -> bytes:
    """A file of tensors that are each (dtype, shape, begin, end), and `size` bytes of data."""
    entries = {name: {"dtype": t[0], "shape": t[1], "data_offsets": list(t[2:])} for name, t in tensors.items()}
    return framed(entries) + b"\0" * size


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "is a Git LFS pointer .* run `git lfs pull`"),
        (b"\n<html><body>404</body></html>", "is a page that a server sent"),
        (b'<?xml version="1.0"?><Error/>', "is a page that a server sent"),
        (b'{"error": "Invalid username or password."}', "is text in JSON"),
        (b"GGUF" + b"\3\0\0\0" * 4, "is a GGUF file"),
        (b"\x1f\x8b\x08\0\1\2\3\4\5", "packed by gzip"),
        (b"PK\3\4" + b"\0" * 60, "is a zip archive"),
        (b"\0" * 4096, "full of zeros"),
        (b"\x80\x02}q\0.", "no safetensors file"),
        ((99).to_bytes(8, "little") + b"{", "cut off in its header"),
        ((2**63).to_bytes(8, "little") + b"{" * 99, "cut off in its header"),
        (framed(b"{{{{"), "header of .* is no JSON"),
        (framed(b"[]"), "expected an object"),
        (framed(b'{"a": ' + b"[" * 5000 + b"}"), "nested too deep"),
        (framed(b'{"a": {}, "a": {}}'), "the key 'a' twice"),
        (framed(b'{"a": "\xff"}'), "is not UTF-8"),
        (framed({"__metadata__": {"format": 1}}), "__metadata__ is no object of texts"),
        (framed({"a": []}), "'a' needs dtype, shape and data_offsets"),
        (framed({"a": {"dtype": "F32", "shape": [2]}}), "'a' needs dtype, shape and data_offsets"),
        (file_of(a=("Q7", [2], 0, 8)), "'a' has the unknown dtype 'Q7'"),
        (file_of(a=(["F32"], [2], 0, 8)), "the unknown dtype"),
        (file_of(a=("F32", [-2], 0, 8)), "no whole numbers from 0 on"),
        (file_of(a=("F32", [True], 0, 4), size=4), "no whole numbers from 0 on"),
        (file_of(a=("F32", [2.0], 0, 8)), "no whole numbers from 0 on"),
        (file_of(a=("F32", 2, 0, 8)), "no whole numbers from 0 on"),
        (file_of(a=("F32", [2], -8, 0)), "no whole numbers from 0 on"),
        (file_of(a=("F32", [2], 0)), "no whole numbers from 0 on"),
        (file_of(a=("F32", [2], 8, 0)), "does not fill its byte range"),
        (file_of(a=("F32", [3], 0, 8)), "does not fill its byte range"),
        (file_of(a=("F32", [0, 2**60], 0, 0), size=0), "a shape beyond all measure"),
        (file_of(a=("F32", [1] * 9, 0, 4), size=4), "a shape beyond all measure"),
        (file_of(a=("F32", [2**40], 0, 2**42)), "is cut off: its tensors need"),
        (file_of(a=("F32", [2], 0, 8), size=7), "is cut off: its tensors need"),
        (file_of(a=("F32", [2], 0, 8), size=9), "has bytes behind its last tensor"),
        (file_of(a=("F32", [2], 0, 8), b=("F32", [2], 4, 12), size=12), "'b' overlaps with the tensor before it"),
        (file_of(a=("F32", [2], 0, 8), b=("F32", [2], 0, 8)), "'b' overlaps with the tensor before it"),
        (file_of(a=("F32", [1], 0, 4), b=("F32", [1], 8, 12), size=12), "'b' leaves a gap to the tensor before it"),
    ],
)
def test_broken_file(tmp_path, content, problem):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=problem) as error:
        Safetensors(path)
    assert "model.safetensors" in str(error.value)


@pytest.mark.parametrize("length", [32, 91, 123, 0x8B1F, 0x4B50])
def test_a_length_that_reads_like_something_else(tmp_path, length):
    """Its bytes are a space, brackets, or how gzip and zip begin."""
    text = json.dumps({"__metadata__": {"a": ""}}).replace('""', f'"{"b" * (length - 29)}"') if length > 60 else "{}"
    path = tmp_path / "model.safetensors"
    path.write_bytes(framed(text.ljust(length).encode()))
    assert path.read_bytes()[0] == length % 256 and Safetensors(path).names() == []


def test_a_header_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(header, "LONGEST", 100)
    path = tmp_path / "model.safetensors"
    path.write_bytes(framed(b"{}".ljust(101)))
    with pytest.raises(InputError, match="a header of 101 bytes; accepted are at most 100"):
        Safetensors(path)


def test_an_empty_tensor_is_one(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file_of(a=("F32", [0, 4], 0, 0), b=("F32", [2], 0, 8)))
    file = Safetensors(path)
    assert file.read("a").shape == (0, 4) and file.read("b").tolist() == [0, 0]


def test_what_is_no_file(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "link.safetensors").symlink_to("/gone/model.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name, problem in (
        ("folder", "cannot be read"),
        ("pipe", "is a pipe; accepted is a regular file"),
        ("link", "is a link to /gone/model.safetensors, which is missing"),
    ):
        with pytest.raises(InputError, match=problem):
            Safetensors(tmp_path / f"{name}.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        Safetensors(tmp_path / "model.safetensors")
