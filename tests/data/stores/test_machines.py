"""Machines without a shared disk; see machines.py."""

import subprocess
import sys
from pathlib import Path

import pytest

from actavatar_jax.storage import open_place
from data_pipelines.clips import prepare_clips
from data_pipelines.table import read_manifest
from tests.data.stores.chain import make_videos
from tests.data.stores.shelf import put_up

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_machines_that_are_killed_and_replaced_end_with_one_runs_shards(tmp_path):
    command = [sys.executable, "-m", "tests.data.stores.machines", str(tmp_path), "--kills", "5"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    assert "the tables and shards of one run on a disk" in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["processes", "beam"])
def test_workers_find_the_store_whatever_runs_them(tmp_path, shelf, change_machine, runner):
    videos = put_up(make_videos(tmp_path / "videos", frames=12), "videos")
    settings = {"min_frames": 10, "min_side": 32, "progress": False}
    prepare_clips(tmp_path / "videos", tmp_path / "clips", **settings)
    report = prepare_clips(videos, "shelf://clips", runner=runner, workers=2, **settings)
    assert report.counts() == {"made": 4, "skipped: unreadable": 1}
    for column in ("id", "prepare.version", "prepare.digest", "prepare.frames"):
        assert read_manifest("shelf://clips").column(column) == read_manifest(tmp_path / "clips").column(column)
    assert len(list(open_place("shelf://clips").rglob("*.mp4"))) == 4
    assert not (shelf / "clips" / ".steps").exists()
