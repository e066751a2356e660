"""A store that fails for a moment, for one clip, or amid a step: what is up is whole, and not done again."""

import pytest

from actavatar_jax.errors import InputError, StoreError
from actavatar_jax.storage import open_place
from data_pipelines.clips import make, prepare_clips
from data_pipelines.filters import filter_clips
from data_pipelines.selection import select_clips
from data_pipelines.shards import commit_shards, encode, encode_clips, find_datasets
from data_pipelines.table import Journal, Part, read_manifest, steps
from data_pipelines.table.journals import read_rows
from tests.data.fakes import FakeEncoders, make_clips
from tests.data.stores import shelf as shelves
from tests.data.stores.chain import files_of, logged, make_videos, table_of
from tests.data.stores.shelf import put_up
from tests.data.table.trivial_step import ARITHMETIC, synthetic

QUIET = {"progress": False}
RULES = 'rules:\n  - {column: probe.seconds, test: ">=", value: 0.1, kind: hard, reason: short}\n'
ENCODING = {"stage": 1, "frames": 9, "buckets": "32x64", "records_per_shard": 2, "progress": False}


@pytest.fixture
def videos(tmp_path, shelf, change_machine):
    return put_up(make_videos(tmp_path / "videos", frames=12), "videos")


def run(videos, folder, rules):
    prepare_clips(videos, f"{folder}/clips", min_frames=10, min_side=32, **QUIET)
    filter_clips(f"{folder}/clips", ["probe"], workers=0, **QUIET)
    select_clips(f"{folder}/clips", 1, rules)
    encode_clips(f"{folder}/clips", f"{folder}/shards", FakeEncoders(), **ENCODING)


def test_dead_at_any_request_another_machine_goes_on(videos, shelf, change_machine, monkeypatch, tmp_path):
    """It dies again and again, a little later each time; a clip is made once, and again where it died on the way."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    run(tmp_path / "videos", str(tmp_path / "run"), rules)
    monkeypatch.setattr(steps, "PUT_UP", 0.0)
    monkeypatch.setattr("data_pipelines.shards.slice_encoder.PUT_UP", 0.0)
    log, deaths = tmp_path / "log", 0
    monkeypatch.setattr(make, "write_video", logged(make.write_video, log))
    while True:
        shelves.answer_only(60 * (deaths + 1))
        try:
            run(videos, "shelf://run", rules)
            break
        except (StoreError, InputError) as error:
            assert str(error).count("shelf://") and len(str(error)) <= 400
            deaths += 1
            change_machine()
    shelves.answer_only(None)
    assert deaths > 4
    assert len(log.read_text().split()) <= 4 + deaths
    assert table_of("shelf://run") == table_of(str(tmp_path / "run"))
    assert files_of("shelf://run") == files_of(str(tmp_path / "run"))
    assert not [path for path in shelf.rglob("*") if path.name in (".staged", ".steps") or "partial" in path.name]


def test_what_has_a_row_on_the_store_is_not_made_again(videos, shelf, change_machine, monkeypatch, tmp_path):
    monkeypatch.setattr(steps, "PUT_UP", 0.0)
    shelves.answer_only(70)
    with pytest.raises(StoreError):
        prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    shelves.answer_only(None)
    up = {entry.id for entry in read_rows([open_place("shelf://clips/.steps/prepare/0-of-1")])}
    assert up
    change_machine()
    monkeypatch.setattr(make, "write_video", logged(make.write_video, tmp_path / "log"))
    prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    assert up.isdisjoint((tmp_path / "log").read_text().split())


def test_a_moment_costs_nothing(videos, monkeypatch):
    """Every first attempt to get or put fails."""
    failed = set()
    for name in ("get_file", "put_file", "info", "ls"):
        real = getattr(shelves.Shelf, name)

        def once(self, *arguments, real=real, name=name, **options):
            if (name, arguments) not in failed:
                failed.add((name, arguments))
                raise ConnectionResetError("reset by peer")
            return real(self, *arguments, **options)

        monkeypatch.setattr(shelves.Shelf, name, once)
    report = prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    assert report.counts() == {"made": 4, "skipped: unreadable": 1}  # the broken one
    assert {name for name, _ in failed} == {"get_file", "put_file", "info", "ls"}


def test_a_clip_that_the_store_does_not_give_is_a_row_and_tried_again(videos, monkeypatch):
    """And so is one that cannot be put up, of which nothing is left."""
    get, put = shelves.Shelf.get_file, shelves.Shelf.put_file

    def one_is_lost(self, path, *rest, **options):
        if path.endswith("02.mp4"):
            raise TimeoutError("no answer")
        return get(self, path, *rest, **options)

    def one_is_refused(self, local, path, **options):
        if "/03-" in path:
            raise PermissionError("forbidden")
        return put(self, local, path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shelves.Shelf, "get_file", one_is_lost)
        patch.setattr(shelves.Shelf, "put_file", one_is_refused)
        report = prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    assert report.counts() == {"made": 2, "skipped: store failed": 2, "skipped: unreadable": 1}
    told = [outcome.detail for outcome in report.outcomes if outcome.reason == "store failed"]
    assert "shelf://videos/02.mp4: the object store fails (TimeoutError: no answer); run this again." in told
    with pytest.raises(InputError, match="2 store failed"):
        report.check()
    report = prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    assert report.counts() == {"kept": 2, "made": 2, "skipped: unreadable": 1}


def test_a_store_that_is_gone_stops_a_step(shelf, change_machine, monkeypatch):
    """Not every clip is to wait for it: more than one in a hundred is no clip's fault."""
    monkeypatch.setattr(shelves.Shelf, "get_file", lambda *_, **__: 1 / 0)
    table = synthetic(30)
    step = steps.Step("gone", lambda clip, folder: (folder / "x").get(folder), state=ARITHMETIC.state)
    with pytest.raises(InputError, match="gone was stopped: 11 of 11 clips failed"):
        (shelf / "run").mkdir()
        (shelf / "run" / "x").write_text("x")
        steps.run_step(step, table, "shelf://run", workers=0, **QUIET)


def test_two_machines_may_put_a_step_together_at_once(shelf, change_machine):
    """The slower one finds the parts gone behind its back, and leaves what the faster one has written."""
    parts = [Part.of_step(open_place("shelf://run"), "s", (index, 2), "x") for index in range(2)]
    for part in parts:
        with part.begun() as journal:
            journal.add(f"c{part.index}", {"x": 1})

    def gather(folders):
        return sorted(entry.id for entry in read_rows(folders))

    saved = []

    def gather_slowly(folders):
        change_machine()  # to whose locks those of this one mean nothing
        assert parts[1].merge(gather, saved.append) == ["c0", "c1"]
        return gather(folders)

    assert parts[0].merge(gather_slowly, saved.append) is None
    assert saved == [["c0", "c1"]] and not list(shelf.rglob("*"))


def test_two_machines_may_commit_shards_at_once(tmp_path, shelf, change_machine, monkeypatch):
    clips = make_clips(tmp_path, {"a": (18, 32, 64), "b": (18, 32, 64)})
    settings = ENCODING | {"stage": None}
    encode_clips(clips, "shelf://shards", FakeEncoders(), process=(0, 2), **settings)
    commit = encode._commit

    def after_another(*folders):
        monkeypatch.setattr(encode, "_commit", commit)
        change_machine()
        assert commit_shards(*folders).counts() == {"made": 2}
        return commit(*folders)

    monkeypatch.setattr(encode, "_commit", after_another)
    report = encode_clips(clips, "shelf://shards", FakeEncoders(), process=(1, 2), **settings)
    assert report.counts() == {"made": 1}  # of its own slice
    assert find_datasets(["shelf://shards"]) and not (shelf / "shards" / ".staged").exists()


def test_a_journal_that_was_never_put_up_is_not_gone_on_from(shelf, change_machine, monkeypatch):
    """Another machine has done these clips since, perhaps of other files."""
    folder = open_place("shelf://run")
    part = Part.of_step(folder, "s", None, "x")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), part.begun() as journal:
        patch.setattr(Journal, "put_up", lambda *_: None)
        journal.add("c0", {"x": "old"})
        raise KeyboardInterrupt
    with part.begun() as journal:
        journal.add("c1", {"x": "new"})
    assert [entry.id for entry in read_rows([folder / ".steps" / "s" / "0-of-1"])] == ["c1"]


def test_a_new_table_is_read_as_the_old_one_or_the_new_one(videos, shelf, monkeypatch):
    """What a put breaks off leaves what was there."""
    prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, **QUIET)
    before = read_manifest("shelf://clips").names
    put = shelves.Shelf.put_file

    def no_columns(self, local, path, **options):
        if "columns/" in path:
            raise ConnectionError("no answer")
        return put(self, local, path, **options)

    with monkeypatch.context() as patch, pytest.raises(StoreError, match=r"columns/probe\.parquet"):
        patch.setattr(shelves.Shelf, "put_file", no_columns)
        filter_clips("shelf://clips", ["probe"], workers=0, **QUIET)
    assert read_manifest("shelf://clips").names == before
    (report,) = filter_clips("shelf://clips", ["probe"], workers=0, **QUIET)
    assert report.counts() == {"kept": 4, "skipped: no clip": 1}  # what was measured is in the journal
