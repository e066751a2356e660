"""Paths and addresses: a store is read as a disk is, its failures are no absence, and no path is taken for one."""

import errno
import os
import pickle
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from actavatar_jax.errors import InputError, StoreError
from actavatar_jax.storage import (
    StorePath,
    absolute,
    check_output,
    fetched,
    join,
    locked_folder,
    locked_target,
    named,
    open_place,
    places,
    read_json,
    remove_folder,
    replaced_file,
    replaced_folder,
    scratch_of,
    write_json,
)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("ACTAVATAR_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(places, "PAUSE", 0.0)
    monkeypatch.setattr(MemoryFileSystem, "store", {})
    monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
    return open_place("memory://bucket")


def test_names_are_made_as_those_of_paths(bucket):
    path = bucket / "a b" / "clip.one.mp4"
    assert str(path) == "memory://bucket/a b/clip.one.mp4" and named(path) == str(path)
    assert str(path.with_suffix(".json")) == "memory://bucket/a b/clip.one.json"
    assert (path.name, path.parent) == ("clip.one.mp4", bucket / "a b")
    assert path.relative_to(bucket).as_posix() == "a b/clip.one.mp4"
    assert pickle.loads(pickle.dumps(path)) == path and len({path, bucket / "a b" / path.name}) == 1
    assert absolute(path) is path


def test_a_place_is_what_it_is_called(tmp_path):
    for on_disk in ("clips", "/data/clips", "a:b/clips", "./gs:/clips", tmp_path):
        assert open_place(on_disk) == Path(on_disk) and type(open_place(on_disk)) is type(tmp_path)
    assert open_place(f"file://{tmp_path}") == tmp_path
    assert open_place("memory://b//c/") == StorePath("memory://b/c")


def test_names_in_tables_lead_where_they_say(bucket):
    for folder in (Path("/data"), bucket):
        assert join(folder, "videos/a.mp4") == folder / "videos" / "a.mp4"
        assert join(folder, "/videos/a.mp4") == Path("/videos/a.mp4")
        assert str(join(folder, "memory://other/a.mp4")) == "memory://other/a.mp4"
        assert join(folder, "https://other/a.mp4") == folder / "https:" / "other" / "a.mp4"


def test_what_is_there_is_found_as_on_a_disk(bucket, tmp_path):
    files = ["x.json", "clips/x.json", "clips/clips/x.json", "clips/clips/.y.txt", "z/y.json"]
    for root in (bucket, tmp_path / "disk"):
        for name in files:
            write_json(root / name, {"name": name})
    disk = tmp_path / "disk"
    for pattern in ("*", "*.json", "*/*.json", "[!c]*/y.json", "clips/*", "nothing/*"):
        assert _names(bucket.glob(pattern), bucket) == _names(disk.glob(pattern), disk), pattern
    for pattern in ("x.json", "[!.]*.txt", "*.json"):
        assert _names(bucket.rglob(pattern), bucket) == _names(disk.rglob(pattern), disk), pattern
    assert _names((bucket / "clips").iterdir(), bucket) == ["clips/clips", "clips/x.json"]
    for name in ("x.json", "clips", "nothing", "clips/x.json/more"):
        store, path = bucket / name, disk / name
        assert (store.is_file(), store.is_dir(), store.exists()) == (path.is_file(), path.is_dir(), path.exists()), name
    assert (bucket / "x.json").stat().st_size == (disk / "x.json").stat().st_size
    (bucket / "x.json").unlink()
    (bucket / "x.json").unlink(missing_ok=True)
    for asked in (bucket.joinpath("x.json").unlink, (bucket / "x.json").stat):
        with pytest.raises(FileNotFoundError):
            asked()
    remove_folder(bucket / "clips")
    assert _names(bucket.rglob("*"), bucket) == ["z/y.json"]


def _names(found, root):
    return sorted(path.relative_to(root).as_posix() for path in found)


def test_what_is_written_is_put_up_when_it_is_whole(bucket, tmp_path):
    with pytest.raises(KeyError), replaced_file(bucket / "a.txt") as partial:
        partial.write_text("half")
        assert not (bucket / "a.txt").exists()
        raise KeyError
    assert not (bucket / "a.txt").exists()
    write_json(bucket / "a.json", {"a": 1})
    assert read_json(bucket / "a.json") == {"a": 1}
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_what_is_fetched_is_gone_afterwards_and_told_by_its_address(bucket):
    write_json(bucket / "a" / "clip.json", [])
    with fetched(bucket / "a" / "clip.json", "clips/ab") as local:
        assert local.read_text() == "[]\n" and local.parts[-3:] == ("clips", "ab", "clip.json")
    assert not local.exists() and not local.parents[2].exists()
    with (
        pytest.raises(InputError, match=r"^memory://bucket/a/clip\.json is odd$"),
        fetched(bucket / "a/clip.json") as local,
    ):
        raise InputError(f"{local} is odd")
    with pytest.raises(InputError, match=r"The file memory://bucket/none\.json is missing"):
        read_json(bucket / "none.json")
    with pytest.raises(InputError, match=r"The file memory://bucket/a/clip\.json is too large"):
        read_json(bucket / "a" / "clip.json", limit=2)


@pytest.mark.parametrize("times", [1, places.ATTEMPTS - 1, places.ATTEMPTS])
def test_a_failure_is_asked_again_and_never_an_absence(bucket, monkeypatch, times):
    write_json(bucket / "a.json", {})
    questions = {
        "info": [bucket.joinpath("a.json").is_file, bucket.joinpath("a.json").exists, bucket.joinpath("a.json").stat],
        "ls": [lambda: list(bucket.glob("*.json")), lambda: list(bucket.rglob("*.json"))],
        "get_file": [lambda: read_json(bucket / "a.json") == {}],
        "put_file": [lambda: write_json(bucket / "a.json", {}) is None],
        "rm_file": [bucket.joinpath("a.json").unlink],
    }
    for name, asked in questions.items():
        for ask in asked:
            real, left = getattr(MemoryFileSystem, name), [times]

            def fails(self, *arguments, real=real, left=left, **options):
                left[0] -= 1
                if left[0] >= 0:
                    raise OSError("reset by peer")
                return real(self, *arguments, **options)

            with monkeypatch.context() as patch:
                patch.setattr(MemoryFileSystem, name, fails)
                if times == places.ATTEMPTS:
                    with pytest.raises(
                        StoreError, match=r"^memory://bucket.*fails \(OSError: reset by peer\); run this"
                    ):
                        ask()
                elif name != "rm_file":
                    assert ask()
                else:
                    ask()


def test_what_comes_broken_off_is_fetched_again(bucket, monkeypatch):
    write_json(bucket / "a.json", {"a": "b" * 100})
    get, cut = MemoryFileSystem.get_file, [2]

    def breaks_off(self, path, target, **options):
        get(self, path, target, **options)
        cut[0] -= 1
        if cut[0] >= 0:
            os.truncate(target, 50)

    monkeypatch.setattr(MemoryFileSystem, "get_file", breaks_off)
    assert read_json(bucket / "a.json") == {"a": "b" * 100} and cut == [-1]
    cut[0] = places.ATTEMPTS
    with pytest.raises(StoreError, match="50 of 114 bytes came"):
        read_json(bucket / "a.json")


def test_a_refusal_and_a_full_disk_are_not_asked_again(bucket, monkeypatch):
    asked = []

    def refuses(self, path, target, **_):
        asked.append(path)
        raise errors.pop()

    write_json(bucket / "a.json", {})
    errors = [OSError(errno.ENOSPC, "no space"), PermissionError("403")]
    monkeypatch.setattr(MemoryFileSystem, "get_file", refuses)
    with pytest.raises(StoreError, match="PermissionError: 403"):
        read_json(bucket / "a.json")
    with pytest.raises(OSError, match="no space"), fetched(bucket / "a.json"):
        pass
    assert len(asked) == 2


def test_a_bucket_that_is_not_there_is_one_sentence(bucket, monkeypatch):
    def no_bucket(self, source, path, **_):
        raise FileNotFoundError(path)

    monkeypatch.setattr(MemoryFileSystem, "put_file", no_bucket)
    with pytest.raises(StoreError, match=r"^memory://bucket/a\.json cannot be put up: there is no such bucket"):
        write_json(bucket / "a.json", {})


def test_a_store_without_its_package_or_unknown_is_one_sentence():
    with pytest.raises(InputError, match=r"^s3://b/x: the package for this store is missing \(.*s3fs"):
        open_place("s3://b/x")
    with pytest.raises(InputError, match=r"^zz://b/x: no such kind of store is known"):
        open_place("zz://b/x")


@pytest.mark.parametrize("path", ["gs://b/x", Path("gs://b/x"), "s3://b/x"])
def test_an_address_is_no_folder_on_the_disk(path, tmp_path, monkeypatch):
    """`Path` makes `gs:/b/x` of it: nothing is written there, and what is read is not there for that reason."""
    monkeypatch.chdir(tmp_path)
    for use in (read_json, check_output, _entered(replaced_file), _entered(replaced_folder), _entered(locked_target)):
        with pytest.raises(
            InputError, match=r"^(gs|s3)://b/x is an address on a store; a path on a disk is needed here"
        ):
            use(path)
    assert list(tmp_path.iterdir()) == []


def _entered(context):
    def use(path):
        with context(path):
            pass

    return use


def test_what_works_on_a_disk_refuses_a_store_path(bucket):
    for use in (open, os.listdir, os.fspath):
        with pytest.raises(InputError, match=r"^memory://bucket is an address on a store"):
            use(bucket)


def test_locks_of_a_store_are_on_this_machine(bucket, tmp_path):
    assert scratch_of(bucket).is_relative_to(tmp_path / "scratch") and scratch_of(tmp_path) == tmp_path
    busy = pytest.raises(InputError, match=r"^memory://bucket is being changed by process")
    with locked_folder(bucket), busy, locked_folder("memory://bucket"):
        pass
    assert not bucket.exists()
