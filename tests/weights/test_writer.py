"""Safetensors files: equal to the library's own, one tensor in memory, nothing half-written."""

import json
import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from actavatar_jax.weights import Safetensors, write_sharded
from actavatar_jax.weights.names import Arrays
from actavatar_jax.weights.writer import MAX_SHARD_BYTES


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


@pytest.mark.parametrize(("limit", "shards"), [(MAX_SHARD_BYTES, 1), (60, 3)])
def test_round_trip(tmp_path, limit, shards):
    want = tensors()
    write_sharded(tmp_path, "model", Arrays(want), max_shard_bytes=limit)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert sum(name.endswith(".safetensors") for name in written) == shards
    if shards > 1:
        assert written[0] == f"model-00001-of-{shards:05}.safetensors"
        index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(value.nbytes for value in want.values())
        source = Safetensors(tmp_path / "model.safetensors.index.json")
    else:
        assert written == ["model.safetensors"]
        source = Safetensors(tmp_path / "model.safetensors")
    assert set(source.names()) == set(want)
    for name, value in want.items():
        assert (source.shape(name), source.dtype(name)) == (value.shape, value.dtype)
        same(source.read(name), value)
        same(source.view(name), value)


def test_files_are_byte_for_byte_the_librarys(tmp_path):
    write_sharded(tmp_path, "ours", Arrays(tensors()))
    safetensors.numpy.save_file(tensors(), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_one_tensor_in_memory(tmp_path):
    size = 1_000_000

    class Made(Arrays):
        def pieces(self, name):
            yield np.full(size, int(name), np.int8)

    def read():
        for name in source.names():
            assert source.read(name)[-1] == int(name)

    made = Made({str(i): np.broadcast_to(np.int8(0), size) for i in range(20)})
    assert most_memory(lambda: write_sharded(tmp_path, "model", made, max_shard_bytes=7 * size)) < 2.5 * size
    source = Safetensors(tmp_path / "model.safetensors.index.json")
    assert most_memory(read) < 2.5 * size


def most_memory(action) -> int:
    """Bytes that are allocated at the same time while it runs."""
    tracemalloc.start()
    action()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_failure_leaves_no_file(tmp_path):
    class Failing(Arrays):
        def pieces(self, name):
            if name == "ids":
                raise OSError("disk")
            yield self.arrays[name]

    with pytest.raises(OSError, match="disk"):
        write_sharded(tmp_path, "model", Failing(tensors()))
    assert list(tmp_path.iterdir()) == []
