"""Safetensors files: equal to the library's own, one tensor in memory, clear errors, nothing half-written."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from actavatar_jax.errors import InputError
from actavatar_jax.weights import files


class Memory:
    """A dict of arrays as tensors to write."""

    def __init__(self, tensors):
        self.tensors = tensors

    def names(self):
        return list(self.tensors)

    def shape(self, name):
        return self.tensors[name].shape

    def dtype(self, name):
        return self.tensors[name].dtype

    def pieces(self, name):
        yield self.tensors[name]


def tensors():
    rng = np.random.default_rng(0)
    return {
        "b.half": rng.normal(size=(3, 5)).astype(ml_dtypes.bfloat16),
        "a.single": rng.normal(size=(2, 3)).astype(np.float32),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(7),
        "flags": np.array([True, False, True]),
        "eighth": rng.normal(size=9).astype(ml_dtypes.float8_e4m3fn),
        "tür": rng.normal(size=3).astype(np.float16),
    }


def same(got, want):
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize(("limit", "shards"), [(files.MAX_SHARD_BYTES, 1), (60, 3)])
def test_round_trip(tmp_path, limit, shards):
    want = tensors()
    files.write_sharded(tmp_path, "model", Memory(want), max_shard_bytes=limit)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert sum(name.endswith(".safetensors") for name in written) == shards
    if shards > 1:
        assert written[0] == f"model-00001-of-{shards:05}.safetensors"
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(value.nbytes for value in want.values())
        source = files.Safetensors(tmp_path / "model.safetensors.index.json")
    else:
        assert written == ["model.safetensors"]
        source = files.Safetensors(tmp_path / "model.safetensors")
    assert set(source.names()) == set(want)
    for name, value in want.items():
        assert (source.shape(name), source.dtype(name)) == (value.shape, value.dtype)
        same(source.read(name), value)
        same(source.view(name), value)


def test_files_are_byte_for_byte_the_librarys(tmp_path):
    files.write_sharded(tmp_path, "ours", Memory(tensors()))
    safetensors.numpy.save_file(tensors(), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_one_tensor_in_memory(tmp_path):
    size = 1_000_000

    class Made(Memory):
        def pieces(self, name):
            yield np.full(size, int(name), np.int8)

    made = Made({str(i): np.broadcast_to(np.int8(0), size) for i in range(20)})
    tracemalloc.start()
    files.write_sharded(tmp_path, "model", made, max_shard_bytes=7 * size)
    source = files.Safetensors(tmp_path / "model.safetensors.index.json")
    for name in source.names():
        assert source.read(name)[-1] == int(name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * size


def broken(tmp_path):
    """A sharded folder to break, and its index."""
    files.write_sharded(tmp_path, "model", Memory(tensors()), max_shard_bytes=60)
    index = tmp_path / "model.safetensors.index.json"
    return index, json.loads(index.read_text()), sorted(tmp_path.glob("*.safetensors"))


def test_missing_shard(tmp_path):
    index, _, shards = broken(tmp_path)
    shards[1].unlink()
    with pytest.raises(InputError, match=f"missing beside it: {shards[1].name}"):
        files.Safetensors(index)


def test_index_of_absent_tensors(tmp_path):
    index, value, shards = broken(tmp_path)
    value["weight_map"]["ghost"] = shards[0].name
    index.write_text(json.dumps(value))
    with pytest.raises(InputError, match="not in their shards: ghost"):
        files.Safetensors(index)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weight_map": {"a": "../a.safetensors"}}'])
def test_broken_index(tmp_path, content):
    index, _, _ = broken(tmp_path)
    index.write_text(content)
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json"):
        files.Safetensors(index)


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
        files.Safetensors(path)
    assert "model.safetensors" in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        files.Safetensors(tmp_path / "model.safetensors")


def test_failure_leaves_no_file(tmp_path):
    class Failing(Memory):
        def pieces(self, name):
            if name == "ids":
                raise OSError("disk")
            yield self.tensors[name]

    with pytest.raises(OSError, match="disk"):
        files.write_sharded(tmp_path, "model", Failing(tensors()))
    assert list(tmp_path.iterdir()) == []


def test_folder_is_replaced_in_one_step(tmp_path):
    target = tmp_path / "part"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(OSError, match="disk"), files.replaced_folder(target) as partial:
        (partial / "new").write_text("half")
        raise OSError("disk")
    assert [path.name for path in target.iterdir()] == ["old"]
    with files.replaced_folder(target) as partial:
        (partial / "new").write_text("whole")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["part"]
