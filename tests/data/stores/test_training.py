"""Encoded clips on a store are read as those on a disk: fetched whole, once for all processes of a machine."""

import shutil
from collections import namedtuple

import numpy as np
import pytest

from actavatar_jax.errors import InputError, StoreError
from actavatar_jax.runs.sections import check_values
from actavatar_jax.runs.training import identify_data
from actavatar_jax.storage import open_place, scratch_root
from configs import stage1
from data_pipelines.loading import FixedBatches, make_loader
from data_pipelines.pages import inspect_folder
from data_pipelines.shards import (
    cached,
    encode_clips,
    find_datasets,
    identify_datasets,
    open_dataset,
    summarise_datasets,
)
from tests.commands import actavatar
from tests.data.fakes import FakeEncoders, make_clips
from tests.data.stores import shelf as shelves

SETTINGS = {"frames": 9, "buckets": "32x64,64x32", "records_per_shard": 2, "progress": False}
LOADING = {"batch_size": 2, "seed": 0, "text_len": 16}


@pytest.fixture
def clips(tmp_path):
    return make_clips(tmp_path, {"a": (18, 32, 64), "b": (18, 64, 32), "c": (18, 32, 64)})


@pytest.fixture
def gets(monkeypatch):
    """The names of the shards that are fetched."""
    found, get = [], shelves.Shelf.get_file

    def seen(self, path, target, **options):
        if ".array_record" in path:
            found.append(path.rpartition("/")[2])
        return get(self, path, target, **options)

    monkeypatch.setattr(shelves.Shelf, "get_file", seen)
    return found


def batches(folder):
    iterator = iter(make_loader(folder, **LOADING))
    return [next(iterator) for _ in range(4)]


def same(one, other):
    return all(np.array_equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a)


def test_batches_are_those_of_shards_on_a_disk(clips, tmp_path, shelf, change_machine, gets, caplog):
    """Whether `encode` made them there or they were copied; a second look fetches nothing."""
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), **SETTINGS)
    encode_clips(clips, "shelf://made", FakeEncoders(), **SETTINGS)
    shutil.copytree(tmp_path / "shards", shelf / "copied")
    wanted, gets[:] = batches(tmp_path / "shards"), []
    for folder in ("shelf://made", "shelf://copied"):
        with caplog.at_level("INFO", "data_pipelines"):
            assert same(batches(folder), wanted)
        assert any(f"are fetched into {scratch_root() / 'shards'}" in line for line in caplog.messages)
        assert len(gets) == len(set(gets)) == 3
        assert same(batches(folder), wanted) and len(gets) == 3
        assert identify_datasets(folder) == identify_datasets(tmp_path / "shards")
        held = FixedBatches([folder], clips=4, batch_size=2, text_len=16, max_phases=8)
        assert sum(batch["weight"].sum() for batch in held) == 4
        weighted = make_loader([folder, tmp_path / "shards"], **LOADING, weights={folder: 1, tmp_path / "shards": 2})
        assert next(iter(weighted))["latents"].shape[0] == 2
        gets.clear()


def test_a_corpus_that_grows_fetches_what_is_new(clips, tmp_path, shelf, change_machine, gets):
    """And what it was stays as it is: a training that reads it is not disturbed."""
    encode_clips(clips, "shelf://shards", FakeEncoders(), **SETTINGS)
    before = find_datasets(["shelf://shards"])
    put = {path: path.stat().st_mtime_ns for path in shelf.rglob("*.array_record")}
    more = make_clips(tmp_path / "more", {"a": (18, 32, 64), "b": (18, 64, 32), "c": (18, 32, 64), "d": (18, 32, 64)})
    encode_clips(more, "shelf://shards", FakeEncoders(), **SETTINGS)
    assert put.items() < {path: path.stat().st_mtime_ns for path in shelf.rglob("*.array_record")}.items()
    gets.clear()
    after = find_datasets(["shelf://shards"])
    assert len(gets) == 1 and gets[0] not in {path.name for path in put}
    assert [path.name for path in after] == ["32x64x9", "64x32x9"] and after[0] != before[0] and after[1] == before[1]
    assert len(list(before[0].glob("*.array_record*"))) == 2


def test_a_clip_that_leaves_takes_its_records_along(clips, tmp_path, shelf, change_machine):
    """Of a shard that others are in, those are put up as a new one; no object is left that nothing lists."""
    encode_clips(clips, "shelf://shards", FakeEncoders(), **(SETTINGS | {"records_per_shard": 4}))
    fewer = make_clips(tmp_path / "fewer", {"b": (18, 64, 32), "c": (18, 32, 64)})
    encode_clips(fewer, "shelf://shards", FakeEncoders(), **(SETTINGS | {"records_per_shard": 4}))
    assert len(list(shelf.rglob("*.array_record"))) == 2
    sources = [open_dataset(path).source for path in find_datasets(["shelf://shards"])]
    ids = {source[number]["clip"].decode() for source in sources for number in range(len(source))}
    assert {clip_id[0] for clip_id in ids} == {"b", "c"}
    only = make_clips(tmp_path / "only", {"b": (18, 64, 32)})
    encode_clips(only, "shelf://shards", FakeEncoders(), **(SETTINGS | {"records_per_shard": 4}))
    assert [path.name for path in find_datasets(["shelf://shards"])] == ["64x32x9"]
    assert not (shelf / "shards" / "32x64x9").exists()


def test_where_there_is_no_room_it_is_said_before(clips, shelf, change_machine, monkeypatch):
    encode_clips(clips, "shelf://shards", FakeEncoders(), **SETTINGS)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(cached.shutil, "disk_usage", lambda _: usage(10))
    with pytest.raises(InputError, match=r"shelf://shards/32x64x9: its shards have .* GB.* ACTAVATAR_SCRATCH"):
        make_loader("shelf://shards", **LOADING)


def test_fetching_that_broke_off_goes_on(clips, shelf, change_machine, gets, monkeypatch):
    encode_clips(clips, "shelf://shards", FakeEncoders(), **SETTINGS)
    monkeypatch.setattr(cached, "AT_A_TIME", 1)
    get, left = shelves.Shelf.get_file, [1]

    def dies(self, path, target, **options):
        if ".array_record" in path:
            left[0] -= 1
            if left[0] < 0:
                raise ConnectionError("no answer")
        return get(self, path, target, **options)

    gets.clear()
    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(shelves.Shelf, "get_file", dies)
        make_loader("shelf://shards", **LOADING)
    assert len(gets) == 1
    make_loader("shelf://shards", **LOADING)
    assert len(gets) == len(set(gets)) == 3


def test_a_run_names_what_it_reads_by_its_contents(clips, tmp_path, shelf, change_machine):
    """So it may go on with the same clips from a disk; a setting for anything else refuses an address."""
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), **SETTINGS)
    encode_clips(clips, "shelf://shards", FakeEncoders(), **SETTINGS)
    named = []
    for folder in (str(tmp_path / "shards"), "shelf://shards"):
        config = stage1.get_config("runlocal")
        config.data.source, config.data.dirs, config.heldout.dirs = "shards", (folder,), (folder,)
        check_values(config)
        named.append(identify_data(config))
    assert named[0] == named[1] and len(named[0]) == 2
    config.sample.jobs = "shelf://jobs.jsonl"
    with pytest.raises(InputError, match=r"setting sample\.jobs: shelf://jobs\.jsonl is an address on a store"):
        check_values(config)


def test_a_page_about_shards_fetches_one_of_each_dataset(clips, tmp_path, shelf, change_machine, gets):
    """Its counts are those of the same shards on a disk; so it is where they were copied to the store."""
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), **(SETTINGS | {"records_per_shard": 1}))
    encode_clips(clips, "shelf://made", FakeEncoders(), **(SETTINGS | {"records_per_shard": 1}))
    shutil.copytree(tmp_path / "shards", shelf / "copied")
    assert len(list(shelf.rglob("*.array_record*"))) > 2 * 2

    def counts(folder):
        summaries = summarise_datasets(open_place(folder), tmp_path / folder.replace("/", "-"))
        return [(one.name, one.records, one.index) for one in summaries], sum(one.bytes for one in summaries)

    wanted, size = counts(str(tmp_path / "shards"))
    assert [(name, records) for name, records, _ in wanted] == [("32x64x9", 4), ("64x32x9", 2)] and size > 0
    for folder in ("shelf://made", "shelf://copied"):
        gets.clear()
        listed, stored = counts(folder)
        assert listed == wanted and len(gets) == 2 and abs(stored - size) < size / 100
        assert actavatar("data", "inspect", folder, "--out", tmp_path / "page.html") == 0
        page = (tmp_path / "page.html").read_text()
        assert "32x64x9" in page and ">6<" in page and page.count("text tokens; pictures") == 4  # of two clips
        assert not list(scratch_root().rglob("*.array_record*"))


def test_a_copy_that_is_not_whole_is_told(clips, tmp_path, shelf, change_machine):
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), **(SETTINGS | {"records_per_shard": 1}))
    shutil.copytree(tmp_path / "shards", shelf / "copied")
    next(shelf.rglob("*.array_record*")).unlink()
    with pytest.raises(InputError, match=r"shelf://copied/\d+x\d+x9: there are \d shards of \d; copy"):
        inspect_folder("shelf://copied", tmp_path / "page.html")


def test_a_folder_without_shards_is_one_sentence(shelf, change_machine):
    with pytest.raises(InputError, match="shelf://nothing: no encoded clips here or in a folder of it"):
        make_loader("shelf://nothing", **LOADING)
