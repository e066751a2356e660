"""PyTorch files: bitwise what torch reads and writes, in pieces, and nothing of them is executed."""

import resource
import sys
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.weights import pth, reader, writer
from actavatar_jax.weights.names import Arrays

torch = pytest.importorskip("torch")


def tensors():
    rng = np.random.default_rng(0)
    return {
        "half": rng.normal(size=(3, 5)).astype(ml_dtypes.bfloat16),
        "odd": np.arange(5, dtype=np.int8),
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "ids": np.arange(7),
        "flags": np.array([True, False, True]),
        "eighth": rng.normal(size=9).astype(ml_dtypes.float8_e4m3fn),
        "tür": rng.normal(size=(2, 3)),
    }


def same(got, want):
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert got.tobytes() == want.tobytes()


def content(tensor):
    """A torch tensor's elements in row-major order, as bytes."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def test_the_same_tensors_make_the_same_file(tmp_path):
    """Whatever the temporary name is under which torch wrote it."""
    paths = tmp_path / "one.pth", tmp_path / "two.pth"
    for path in paths:
        pth.write_pth(path, Arrays(tensors()))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_torch_reads_what_is_written(tmp_path):
    pth.write_pth(tmp_path / "model.pth", Arrays(tensors()))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    source = pth.Pth(tmp_path / "model.pth")
    for mmap in (False, True):
        state = torch.load(tmp_path / "model.pth", weights_only=True, mmap=mmap)
        assert list(state) == list(tensors()) == source.names()
        for name, want in tensors().items():
            assert str(state[name].dtype) == f"torch.{want.dtype.name}" and state[name].shape == want.shape
            assert type(state[name]) is torch.Tensor and state[name].is_contiguous()
            assert content(state[name]) == want.tobytes()
            same(source.read(name), want)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_writes_is_read(tmp_path, zipped):
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    state = {name: torch.from_numpy(want) for name, want in tensors().items() if want.dtype.kind != "V"}
    state |= {"rows": whole[1:3], "columns": whole[:, 2:4], "turned": whole.T, "none": whole[:0], "one": whole[:1].T}
    state |= {"bf16": whole.to(torch.bfloat16).T, "parameter": torch.nn.Parameter(whole + 0.5)}
    state["wide"] = whole[:1].expand(3, 6)  # strides of zero
    torch.save(state, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    source = pth.Pth(tmp_path / "model.pth")
    assert source.names() == list(state)
    for name, tensor in state.items():
        assert (f"torch.{source.dtype(name).name}", source.shape(name)) == (str(tensor.dtype), tuple(tensor.shape))
        assert source.read(name).tobytes() == content(tensor)
        assert b"".join(piece.tobytes() for piece in source.pieces(name)) == content(tensor)
    assert source.renamed({"new": "turned"}).read("new").tobytes() == content(whole.T)


def test_tensors_of_a_gpu_are_read(tmp_path):
    """The file says where tensors lived; nobody needs that device."""
    with pth._without_content(torch):
        there = torch.empty(3, device="cuda")
    with torch.serialization.skip_data(materialize_fake_tensors=True):
        torch.save({"a": there}, tmp_path / "model.pth")
    assert b"cuda:0" in (tmp_path / "model.pth").read_bytes()
    np.testing.assert_array_equal(pth.Pth(tmp_path / "model.pth").read("a"), np.zeros(3, np.float32))


def test_pieces_in_memory(tmp_path, monkeypatch):
    """Neither reading nor writing holds a tensor: one of 8 MB flows in 16 pieces."""
    size, piece = 2**23, 2**19
    monkeypatch.setattr(reader, "PIECE_BYTES", piece)
    want = {f"{i}": np.full(size, i, np.int8) for i in range(2)}
    writer.write_sharded(tmp_path, "model", Arrays(want))
    pth.write_pth(tmp_path / "warm.pth", Arrays(tensors()))  # what torch loads on its first call is not counted
    source = reader.Safetensors(tmp_path / "model.safetensors")
    seen = []
    tracemalloc.start()
    pth.write_pth(tmp_path / "model.pth", source, seen.append)
    counted = [len(values) for values in pth.Pth(tmp_path / "model.pth").pieces("1")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == [piece] * 32 and counted == [piece] * 16
    assert peak < 4 * piece
    same(pth.Pth(tmp_path / "model.pth").read("1"), want["1"])


def test_torch_holds_no_content(tmp_path):
    """torch allocates outside of Python: here a tensor of 2 GiB, of which a file of a few blocks is made first."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen = []

    class Huge(Arrays):
        def shape(self, name):
            return (2**31,)

        def pieces(self, name):
            (partial,) = tmp_path.iterdir()
            seen.append(partial.stat())
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        pth.write_pth(tmp_path / "model.pth", Huge({"a": np.zeros(1, np.int8)}))
    assert seen[0].st_size > 2**31 and seen[0].st_blocks * 512 < 2**20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB
    assert list(tmp_path.iterdir()) == []


def test_missing_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.pth").write_bytes(b"PK\3\4")  # what is no such file at all would be told first
    for action in (lambda path: pth.Pth(path), lambda path: pth.write_pth(path, Arrays(tensors()))):
        with pytest.raises(InputError, match=r"install actavatar-jax\[torch\]"):
            action(tmp_path / "model.pth")


class Call:
    """Pickles as a call of `print`."""

    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_of_a_file_is_executed(tmp_path, capsys, zipped):
    torch.save({"a": Call()}, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"model\.pth is no PyTorch file of tensors: .* never loaded because"):
        pth.Pth(tmp_path / "model.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("zipped", [True, False])
def test_cut_off_and_other_files(tmp_path, zipped):
    path = tmp_path / "model.pth"
    torch.save({"a": torch.ones(2000)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for part in (whole[:-1], whole[:5000], whole[:300], whole[:3], b"text"):
        path.write_bytes(part)
        with pytest.raises(InputError, match=r"model\.pth is no PyTorch file of tensors") as error:
            pth.Pth(path)
        assert len(str(error.value)) < 400 and "weights_only" not in str(error.value)
    for state in ({"state": {"a": torch.ones(2)}}, [torch.ones(2)]):
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match="holds no flat dict of tensors"):
            pth.Pth(path)
    torch.save({"a": torch.ones(2, dtype=torch.complex64)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"holds 'a' as torch\.strided of torch\.complex64; accepted"):
        pth.Pth(path)
    for content, words in OTHERS:
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"model\.pth is {words}"):
            pth.Pth(path)
    path.unlink()
    with pytest.raises(InputError, match=r"model\.pth is missing"):
        pth.Pth(path)


OTHERS = (
    (b"", "empty"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 380267417\n", "a Git LFS pointer .* `git lfs"),
    (b"<!DOCTYPE html><html>", "a page that a server sent"),
    ((2).to_bytes(8, "little") + b"{}", "a safetensors file under the name of a PyTorch file; rename it"),
)


@pytest.mark.parametrize("zipped", [True, False])
def test_flipped_bits(tmp_path, zipped):
    """The file is read or refused in a sentence, whatever torch, zipfile and pickle raise."""
    path, rng = tmp_path / "model.pth", np.random.default_rng(2)
    torch.save({"a": torch.ones(20), "b": torch.zeros(3, 4)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for at, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200), strict=True):
        content = bytearray(whole)
        content[at] ^= 1 << bit
        path.write_bytes(content)
        try:
            pth.Pth(path)
        except InputError as error:
            assert "\n" not in str(error) and len(str(error)) <= 400


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_anew_is_refused(tmp_path, compression):
    """Its storages are not where torch reckons: reading there would give other numbers without a word."""
    torch.save({"a": torch.ones(2000), "b": torch.zeros(3)}, tmp_path / "model.pth")
    with zipfile.ZipFile(tmp_path / "model.pth") as old, zipfile.ZipFile(tmp_path / "new.pth", "w", compression) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    with pytest.raises(InputError, match="was packed anew: its tensors"):
        pth.Pth(tmp_path / "new.pth")


def test_a_program_is_not_run(tmp_path):
    """TorchScript is an archive of the same kind, and what the network of FVD is often found as."""
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    with pytest.raises(
        InputError, match=r"program\.pt is a TorchScript program, which is never run; accepted is a dict"
    ):
        pth.Pth(tmp_path / "program.pt")


def test_big_endian_numbers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "byteorder", "big")
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pth")
    monkeypatch.undo()
    with pytest.raises(InputError, match="holds big-endian numbers"):
        pth.Pth(tmp_path / "model.pth")
