"""OpenHumanVid as it is distributed, and the damage it comes with."""

import re
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from data_pipelines.table import Table
from tests.data.corpora.on_disk import read, told, touch

HEADER = (
    "path,clip_id,caption,luminance_min,luminance_max,blur_min,blur_max,aesthetic,technical_score,global_motion,,\r\n"
)


def row(clip_id: str, caption: str = "A man speaks.", blur: str = "3.5") -> str:
    return f"clips/part_001/{clip_id[:2]}/05/{clip_id},{clip_id},{caption},1,2.5,{blur},4,5,6,0.5,,\r\n"


def open_human_vid(tmp_path, text: bytes, *on_disk: str) -> Path:
    src = tmp_path / "ohv"
    src.mkdir()
    (src / "OpenHumanVid_part_001.csv").write_bytes(text)
    touch(*(src / "part_001" / name[:2] / "05" / f"{name}.mp4" for name in on_disk))
    return src


def test_openhumanvid_takes_what_has_clip_and_caption(tmp_path):
    rows = row("aa1", '"Two lines,\nquoted"') + row("aa2", "", "") + row("ab3") + row("ab4", blur="")
    text = ("\ufeff" + HEADER + rows + row("aa1", "Again.") + row("ac5", "Caf@.")).encode().replace(b"@", b"\xe9")
    src = open_human_vid(tmp_path, text, "aa1", "aa2", "ab4", "ac5", "ff9")
    clips, left_out = read("openhumanvid", src, tmp_path)
    assert left_out == {
        "skipped: caption not UTF-8": 1,
        "skipped: duplicate id": 1,
        "skipped: no caption": 2,
        "skipped: no clip": 1,
    }
    assert clips["aa1"].caption == "Two lines,\nquoted" and clips["aa1"].source.endswith("part_001/aa/05/aa1.mp4")
    assert clips["aa1"].facts["openhumanvid.blur_min"] == 3.5 and clips["aa1"].facts["openhumanvid.part"] == "part_001"
    assert clips["ab4"].facts["openhumanvid.blur_min"] is None and len(clips["aa1"].facts) == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,clip_id,text\r\n", r"row 1 has no column caption; it has path, clip_id, text"),
        ("", r"row 1 has no column path, clip_id, caption; it has none"),
    ],
)
def test_openhumanvid_of_another_layout_is_refused(tmp_path, text, message):
    src = open_human_vid(tmp_path, text.encode(), "aa1", "aa2")
    with pytest.raises(InputError, match=message):
        read_corpus("openhumanvid", src, tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (row("aa2", blur="sharp"), r"part_001\.csv row 3: key 'blur_min' is 'sharp'"),
        (row("../aa1"), r"row 3: the id '\.\./aa1' is no file name"),
        ("clips/a,aa1\r\n", r"row 3: 2 values, the header has 12"),
        (f'clips/a,"{"x" * 70_000}\n{"x" * 70_000}",a\r\n', r"row 3: not CSV .*; lines 3 to 4 are lost"),
    ],
)
def test_an_odd_row_of_openhumanvid_is_left_out_and_told(tmp_path, odd, message):
    src = open_human_vid(tmp_path, (HEADER + row("aa1") + odd + row("aa3")).encode(), "aa1", "aa2", "aa3")
    (sentence,) = told("openhumanvid", src, tmp_path)["odd row"]
    assert re.search(message, sentence)
    assert {"aa1", "aa3"} == {clip.id for clip in Table.read(tmp_path / "t.parquet")}
