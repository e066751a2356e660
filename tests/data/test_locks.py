"""Two commands on one folder at once: steps share it, the others end with a sentence, and no column is lost."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from actavatar_jax.storage import locked_folder
from data_pipelines.annotation import ChatClient, Server, annotate_clips
from data_pipelines.clips import prepare_clips
from data_pipelines.filters import filter_clips
from data_pipelines.selection import select_clips
from data_pipelines.shards import commit_shards, encode_clips, find_datasets
from data_pipelines.table import Part, read_manifest
from tests.data.fakes import FakeEncoders, make_clips

BUSY = "is being changed by process .* run this again when that has ended"


@pytest.fixture
def clips(tmp_path):
    return make_clips(tmp_path, {"a": (9, 32, 64), "b": (9, 32, 64)})


def test_two_filters_at_once_lose_no_column(clips):
    """Each writes its own file; the same filter twice is refused."""
    code = "import sys; from data_pipelines.filters import *; filter_clips(sys.argv[1], [sys.argv[2]], workers=0)"
    begun = [
        subprocess.Popen([sys.executable, "-c", code, str(clips), name], cwd=Path(__file__).parents[2])
        for name in ("probe", "duplicates")
    ]
    assert [process.wait() for process in begun] == [0, 0]
    names = read_manifest(clips).names
    assert {"probe.version", "duplicates.version", "prepare.version"} <= set(names)
    with Part.of_step(clips, "probe", None, "").begun(), pytest.raises(InputError, match=BUSY):
        filter_clips(clips, ["probe"], workers=0, progress=False)


def test_every_command_that_changes_a_folder_asks_for_it(tmp_path, clips):
    def annotate():
        with ChatClient(Server("http://127.0.0.1:9/v1", "omni")) as client:
            annotate_clips(clips, client, progress=False)

    before = {path: path.read_bytes() for path in clips.rglob("*") if path.is_file()}
    with locked_folder(clips):
        for command in (
            lambda: prepare_clips(tmp_path / "videos", clips, min_frames=5, min_side=32, progress=False),
            lambda: filter_clips(clips, ["probe"], workers=0, progress=False),
            lambda: select_clips(clips, 1),
            annotate,
        ):
            with pytest.raises(InputError, match=BUSY):
                command()
    after = {path: path.read_bytes() for path in clips.rglob("*") if path.is_file()}
    assert before == after


def test_slices_of_one_encoding_share_the_folder_and_a_commit_waits_for_them(tmp_path, clips):
    shards, settings = tmp_path / "shards", {"frames": 5, "buckets": "32x64", "progress": False}
    encode_clips(clips, shards, FakeEncoders(), process=(0, 2), **settings)
    inside, go_on = threading.Event(), threading.Event()

    class Slow(FakeEncoders):
        def video(self, frames):
            inside.set()
            go_on.wait(30)
            return super().video(frames)

    slow = threading.Thread(target=encode_clips, args=(clips, shards, Slow()), kwargs=settings | {"process": (1, 2)})
    slow.start()
    try:
        assert inside.wait(30)
        with pytest.raises(InputError, match=BUSY):
            commit_shards(clips, shards)
        with pytest.raises(InputError, match=BUSY):
            encode_clips(clips, shards, FakeEncoders(), **settings)
        encode_clips(clips, shards, FakeEncoders(), process=(0, 2), **settings)
    finally:
        go_on.set()
        slow.join()
    assert len(find_datasets([shards])) == 1  # by the slice that ended last
