"""A shard folder of two buckets."""

import json

import pytest

from data_pipelines.shards import encode_clips
from tests.data.fakes import FakeEncoders, make_clips


@pytest.fixture(scope="module")
def shard_dir(tmp_path_factory):
    """Two buckets, of 7 and 2 records."""
    root = tmp_path_factory.mktemp("loader")
    (root / "videos").mkdir()
    phases = [{"start": 0, "end": 0.36, "action": "Waves."}, {"start": 0.36, "end": 1.2, "action": "Bows."}]
    (root / "videos" / "a.json").write_text(json.dumps({"base": "A man.", "phases": phases}))
    clips = make_clips(root, {"a": (31, 64, 96), "b": (20, 96, 64), "c": (38, 64, 96)})
    settings = {"frames": 9, "buckets": "32x64,64x32", "records_per_shard": 2, "progress": False}
    encode_clips(clips, root / "shards", FakeEncoders(), **settings)
    return root / "shards"
