"""What names a dataset: what it holds, and not where it lies."""

import json
import shutil

from data_pipelines.loading import SyntheticSource
from data_pipelines.shards import (
    Bucket,
    encode_clips,
    find_datasets,
    identify_datasets,
    serialize_record,
    write_dataset,
)
from tests.data.fakes import FakeEncoders, make_clips

SOURCE = SyntheticSource(Bucket(32, 64, 9), channels=2, text_dim=4, audio_layers=1, audio_dim=2)


def write(folder, records):
    folder.mkdir(parents=True)
    metadata = {"fps": 25, "encoders": {}, "empty_prompt": SOURCE.empty_prompt().to_dict()}
    write_dataset(folder, (serialize_record(SOURCE[i]) for i in records), len(records), 2, metadata)
    return folder


def test_encoded_clips_are_named_by_their_index(tmp_path):
    clips = make_clips(tmp_path, {"a": (20, 64, 96), "b": (20, 96, 64)})
    settings = {"frames": 9, "buckets": "32x64,64x32", "progress": False}
    encode_clips(clips, tmp_path / "one", FakeEncoders(), **settings)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    name = identify_datasets(tmp_path / "one")
    assert len(name) == 16 and identify_datasets(tmp_path / "copy") == name
    next((clips / "clips").rglob("a-*.mp4")).with_suffix(".json").write_text(json.dumps({"base": "Another caption."}))
    encode_clips(clips, tmp_path / "one", FakeEncoders(), **settings)
    assert identify_datasets(tmp_path / "one") != name == identify_datasets(tmp_path / "copy")
    (tmp_path / "copy" / "32x64x9").rename(tmp_path / "copy" / "other")
    assert identify_datasets(tmp_path / "copy") != name  # buckets take turns in the order of their names


def test_other_records_have_a_digest(tmp_path):
    same, again = (write(tmp_path / name / "part", [0, 1, 2]) for name in ("same", "again"))
    other = write(tmp_path / "other" / "part", [0, 1, 3])  # of the same sizes
    names = [identify_datasets(folder.parent) for folder in (same, again, other)]
    assert names[0] == names[1] != names[2]
    for folder in (same, again, other):  # from before there was a digest
        metadata = json.loads((folder / "metadata.json").read_text())
        assert len(metadata.pop("contents")) == 16
        (folder / "metadata.json").write_text(json.dumps(metadata))
    longer = write(tmp_path / "longer" / "part", [0, 1])
    shutil.copy(same / "metadata.json", longer)
    assert identify_datasets(same.parent) != identify_datasets(longer.parent)


def test_datasets_come_in_the_same_order_wherever_they_lie(tmp_path):
    folders = [write(tmp_path / name / "part", records) for name, records in (("x", [0]), ("y", [1]), ("z", [2]))]
    order = [(folder / "metadata.json").read_bytes() for folder in find_datasets(folders)]
    (tmp_path / "x").rename(tmp_path / "last")
    (tmp_path / "z").rename(tmp_path / "first")
    moved = find_datasets([tmp_path / name for name in ("first", "last", "y")])
    assert [(folder / "metadata.json").read_bytes() for folder in moved] == order
