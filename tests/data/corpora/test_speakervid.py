"""SpeakerVid-5M as it is distributed, and the damage it comes with."""

import json
import re
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from data_pipelines.table import Table
from tests.data.corpora.on_disk import read, told, touch

VIDEO = "a_b-c_d_e-f"  # 11 characters, as YouTube's are
NAME = f"{VIDEO}_1920x1080_full_video"
RECORD = {
    "video_name": NAME,
    "start_seconds": 289.656,
    "end_seconds": 301.4678,
    "duration": 4.2,  # of a turn within
    "bbox": [0.6, 0.06, 0.9995, 0.914],
    "raw_video_width": 1920,
    "raw_video_height": 1080,
    "clip_video_width": 768,
    "clip_video_height": 928,
    "is_talking": 1,
    "clip_speaker_num": 2,
    "speaker": ["B", "B"],
    "conf": 0,
    "dover": 0.558,
}


def speaker_vid(tmp_path, records: dict, captions: dict | None = None) -> Path:
    src = tmp_path / "sv"
    for folder, contents in (("merged_anno", records), ("raw_labels/anno", captions or {})):
        (src / folder).mkdir(parents=True)
        for name, content in contents.items():
            text = content if isinstance(content, bytes) else json.dumps(content).encode()
            (src / folder / f"{name}.json").write_bytes(text)
    return src


def test_speakervid_cuts_whole_videos_and_takes_cut_clips(tmp_path):
    records = {f"{NAME}_{k}_A_00": RECORD for k in ("001", "002")}
    records |= {"xxxxxxxxxxx_1x1_full_video_001_A_00": RECORD | {"video_name": "xxxxxxxxxxx_1x1_full_video"}}
    records |= {f"{NAME}_003_A_00": b'{"video_name": "\xe9"}', f"{NAME}_004_A_00": b'{"video'}
    said = {"movement_caption": "She nods.", "expression_caption": "She smiles."}
    src = speaker_vid(tmp_path, records, {f"{NAME}_001_A_00": said})
    touch(src / "videos" / f"{VIDEO}.mp4", src / "clips" / f"{NAME}_002_A_00.mp4", src / "clips" / "stray.mp4")
    (src / "SFT_set.json").write_text(json.dumps([f"{NAME}_001_A_00.json"]))
    (src / "testset.json").write_text(json.dumps([{"filename": f"{NAME}_002_A_00.json"}]))

    clips, left_out = read("speakervid", src, tmp_path)
    assert left_out == {"skipped: damaged annotation": 2, "skipped: no annotation": 1, "skipped: no clip": 1}
    cut, whole = clips[f"{NAME}_001_A_00"], clips[f"{NAME}_002_A_00"]
    assert (cut.start, cut.end) == (289.656, 301.4678) and cut.source.endswith(f"videos/{VIDEO}.mp4")
    assert cut.crop == pytest.approx((0.6, 0.06, 0.3995, 0.854))
    assert (whole.start, whole.end, whole.crop) == (0, None, None) and whole.source.endswith("_002_A_00.mp4")
    assert cut.caption == "She nods. She smiles." and whole.caption == ""
    assert [clip.split for clip in (cut, whole)] == ["sft", "test"]
    assert cut.facts["speakervid.is_talking"] is True and cut.facts["speakervid.speaker"] == "B B"
    assert cut.facts["speakervid.youtube_id"] == VIDEO and cut.facts["speakervid.clear"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": [0.6, 0.06, 0.3995, 0.854]}, "'bbox'.*pixels of width"),  # x, y, w, h
        ({"bbox": [0.1, 0.2]}, "'bbox'"),
        ({"start_seconds": "soon"}, "'start_seconds' is 'soon'"),
        ({"end_seconds": 2}, "'start_seconds' and 'end_seconds'"),
        ({"is_talking": None}, "'is_talking' is None"),
        ({"video_name": 5}, "'video_name' is 5"),
    ],
)
def test_an_odd_annotation_of_speakervid_is_left_out_and_told(tmp_path, change, message):
    src = speaker_vid(tmp_path, {f"{NAME}_001_A_00": RECORD | change, f"{NAME}_002_A_00": RECORD})
    touch(src / f"{VIDEO}.mp4")
    (sentence,) = told("speakervid", src, tmp_path)["odd annotation"]
    assert re.search(rf"{NAME}_001_A_00\.json.*{message}", sentence)
    assert [clip.id for clip in Table.read(tmp_path / "t.parquet")] == [f"{NAME}_002_A_00"]


def test_where_no_annotation_is_as_it_should_be_the_error_says_why(tmp_path):
    src = speaker_vid(tmp_path, {f"{NAME}_001_A_00": RECORD | {"bbox": [0.1, 0.2]}})
    touch(src / f"{VIDEO}.mp4")
    with pytest.raises(InputError, match=r"no clip of kind speakervid.*t\.report\.json.*bbox"):
        read_corpus("speakervid", src, tmp_path / "t.parquet")


def test_an_odd_entry_of_a_split_is_told(tmp_path):
    src = speaker_vid(tmp_path, {f"{NAME}_001_A_00": RECORD})
    touch(src / f"{VIDEO}.mp4")
    (src / "testset.json").write_text(json.dumps([5, f"{NAME}_001_A_00.json"]))
    (sentence,) = told("speakervid", src, tmp_path)["odd entry"]
    assert "testset.json entry 0" in sentence
    assert Table.read(tmp_path / "t.parquet").column("split") == ["test"]


def test_speakervid_names_a_missing_key_and_those_there(tmp_path):
    src = speaker_vid(tmp_path, {f"{NAME}_001_A_00": {"video_name": NAME, "begin": 3}})
    touch(src / f"{VIDEO}.mp4")
    (sentence,) = told("speakervid", src, tmp_path)["odd annotation"]
    assert "key 'start_seconds' is missing (there are video_name, begin)" in sentence


def test_parts_read_their_annotations_and_the_first_tells_of_the_whole(tmp_path):
    src = speaker_vid(tmp_path, {f"{NAME}_{k}_A_00": RECORD for k in ("001", "002", "003")} | {f"{NAME}_x": b"{"})
    touch(src / "videos" / f"{VIDEO}.mp4", src / "stray.mp4")
    (src / "testset.json").write_text("[5]")
    clips, left_out = read("speakervid", src, tmp_path)
    parts = [read_corpus("speakervid", src, tmp_path / "tables" / "t.parquet", (index, 2)) for index in range(2)]
    assert parts[0].counts() == {"made": 2, "skipped: no annotation": 1, "skipped: odd entry": 1}
    assert parts[1].counts() == {"made": len(clips), **left_out}
    whole = Table.read(tmp_path / "tables" / "corpus.parquet")
    assert Table.read(tmp_path / "tables" / "t.parquet").data.equals(whole.data)
