"""The chain on object stores: the tables, texts and shards of a run on a disk, by one machine or by several."""

import pytest

from actavatar_jax.storage import open_place, scratch_root, write_text
from data_pipelines.clips import prepare_clips
from data_pipelines.pages import inspect_folder
from data_pipelines.table import read_manifest
from tests.data.chat_server import ChatServer, says_json
from tests.data.stores.chain import CLIPS, RULES, files_of, make_videos, run_chain, table_of, texts_of
from tests.data.stores.shelf import put_up

pytestmark = pytest.mark.slow

for package in ("imagehash", "httpx2"):
    pytest.importorskip(package)


@pytest.fixture(scope="module")
def server():
    with ChatServer(lambda *_: says_json()) as server:
        yield server


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory, server):
    """A run of the chain on a disk, and its videos."""
    folder = tmp_path_factory.mktemp("disk")
    make_videos(folder / "videos")
    write_text(folder / "run" / "rules.yaml", RULES)
    run_chain(folder / "videos", str(folder / "run"), server.url, parts=2)
    return folder


@pytest.fixture
def videos(on_disk, shelf):
    return put_up(on_disk / "videos", "videos")


@pytest.mark.parametrize("address", ["shelf://bucket/run", "memory://bucket/run"])
def test_tables_texts_and_shards_are_those_of_a_run_on_a_disk(
    on_disk, videos, server, change_machine, address, tmp_path
):
    asked = len(server.requests)
    write_text(open_place(address) / "rules.yaml", RULES)
    run_chain(videos, address, server.url, parts=2)
    assert len(server.requests) == asked + CLIPS
    local = str(on_disk / "run")
    assert table_of(address) == table_of(local)
    assert texts_of(address) == texts_of(local) and len(texts_of(local)) == CLIPS + 1
    assert files_of(address) == files_of(local) and len(files_of(local)) > 4
    assert not list(scratch_root().rglob("*.mp4")) and not list(scratch_root().rglob("*.partial"))
    inspect_folder(f"{address}/clips", tmp_path / "clips.html", samples=1)
    assert "00-" in (tmp_path / "clips.html").read_text()


def test_nothing_is_done_twice(on_disk, videos, server, change_machine, shelf):
    """Not even by a machine that has never seen any of it."""
    write_text(open_place("shelf://run/rules.yaml"), RULES)
    run_chain(videos, "shelf://run", server.url)
    change_machine()
    asked, before = len(server.requests), {path: path.stat().st_mtime_ns for path in shelf.rglob("*.mp4")}
    shards = {path: path.stat().st_mtime_ns for path in shelf.rglob("*.array_record")}
    run_chain(videos, "shelf://run", server.url)
    assert len(server.requests) == asked
    assert {path: path.stat().st_mtime_ns for path in shelf.rglob("*.mp4")} == before
    assert {path: path.stat().st_mtime_ns for path in shelf.rglob("*.array_record")} == shards


def test_what_is_said_of_a_video_has_its_address(videos, change_machine):
    report = prepare_clips(videos, "shelf://clips", min_frames=10, min_side=32, progress=False)
    (broken,) = [outcome for outcome in report.outcomes if outcome.status == "skipped"]
    assert broken.detail.startswith(f"Video {videos}/broken.mp4 is damaged")
    assert set(read_manifest("shelf://clips").column("source")) >= {f"{videos}/00.mp4"}
