"""The pages about clip and shard folders: numbers that add up, pictures, no way in for markup, no file beside them."""

import base64
import html.parser
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from actavatar_jax.charts import draw_histogram, draw_timeline
from actavatar_jax.errors import InputError
from data_pipelines.loading import SyntheticSource
from data_pipelines.pages import inspect_folder
from data_pipelines.pages.page import format_duration, pick_spread
from data_pipelines.shards import Bucket, describe_records, encode_clips, serialize_record, write_dataset
from data_pipelines.table import read_manifest, shelved
from tests.data.fakes import FakeEncoders, make_clips

EVIL = '<script>alert(1)</script> & "Łódź"'


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three prepared clips and one that is not, with columns of steps and of a selection."""
    root = tmp_path_factory.mktemp("inspect")
    (root / "videos").mkdir()
    phases = [{"start": 0.2, "end": 0.6, "action": "Waves."}, {"start": 0.5, "end": 1.2, "action": f"Bows {EVIL}."}]
    (root / "videos" / "a.json").write_text(json.dumps({"base": "A man.", "phases": phases}))
    (root / "videos" / "d.mp4").write_bytes(b"no video")
    folder = make_clips(root, {"a": (31, 64, 96), "b": (20, 96, 64), "c": (12, 64, 96)})
    columns = {
        "voice.fraction": [0.25, 0.5, None, None],
        "voice.error": [None, None, EVIL, "no clip"],
        "probe.error": [None, None, None, "no clip"],
        "quality.score": [float("nan"), 1.0, 1.0, None],
        "quality.available": [True, True, True, None],
        "motion.profile": [[0.1, None, 0.7, 0.2], None, None, None],
        "stage1": [True, False, False, False],
        "stage1.reason": [None, "little speech", "little speech", "not prepared"],
    }
    read_manifest(folder).with_columns(columns).write(folder / "manifest.parquet")
    return folder


class Reader(html.parser.HTMLParser):
    """Opened tags with their attributes, and the text; fails where tags are not closed in order."""

    VOID = ("meta", "img")

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += " " + data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder, out, **settings):
    inspect_folder(folder, out, **settings)
    reader = Reader(out.read_text())
    reader.text = " ".join(reader.text.split())
    for picture in reader.all("img"):
        assert picture["src"].startswith("data:")
    assert not reader.all("script") and not reader.all("link") and "http" not in out.read_text()
    return reader


def pictures(page):
    data = [base64.b64decode(image["src"].partition(",")[2]) for image in page.all("img")]
    return [np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")) for jpeg in data]


def test_a_clip_folder(clips, tmp_path):
    page = page_of(clips, tmp_path / "page.html")
    assert "4 clips in the table 3 prepared 2.5 s length" in page.text
    assert "1 (1.2 s) for stage1" in page.text
    assert "folder 4 3 2.5 s" in page.text
    assert "Left out by prepare unreadable 1" in page.text
    assert "Left out by stage1 little speech 2" in page.text
    assert f"Left out by voice {EVIL} 1" in page.text
    # The clip that was not prepared is counted once.
    assert not any(words in page.text for words in ("no clip", "not prepared", "Left out by probe"))
    assert "voice.fraction, 2 known, 2 unknown" in page.text and "quality.score, 2 known, 2 unknown" in page.text
    assert "quality.available" not in page.text and "stage1, " not in page.text  # no numbers
    assert "A man." in page.text and "[0.2-0.6s] Waves." in page.text and EVIL in page.text
    assert "stage1: selected" in page.text and "stage1: little speech" in page.text
    assert len(page.all("polyline")) == 1

    shown = pictures(page)
    assert [picture.shape for picture in shown] == 3 * [(120, 180, 3)] + 3 * [(120, 80, 3)] + 3 * [(120, 180, 3)]
    brightness = [picture.mean() for picture in shown]
    assert all(a < b < c for a, b, c in zip(*[iter(brightness)] * 3, strict=True))  # of each clip, in its order


def test_samples_are_spread_over_the_clips(clips, tmp_path):
    assert (
        pick_spread("abcdefgh", 3) == ["a", "c", "f"]
        and pick_spread("ab", 3) == ["a", "b"]
        and pick_spread("", 3) == []
    )
    page = page_of(clips, tmp_path / "page.html", samples=2)
    assert "2 samples a-" in page.text and len(page.all("img")) == 6


def test_a_clip_that_is_gone_is_said_to_be(clips, tmp_path):
    video = next((clips / "clips").rglob("b-*.mp4"))
    data = video.read_bytes()
    video.unlink()
    try:
        page = page_of(clips, tmp_path / "page.html")
    finally:
        video.write_bytes(data)
    assert len(page.all("img")) == 6 and str(video) in page.text


def test_a_shard_folder(clips, tmp_path):
    encode_clips(
        clips, tmp_path / "shards", FakeEncoders(), frames=9, buckets="32x64,64x32", records_per_shard=2, progress=False
    )
    page = page_of(tmp_path / "shards", tmp_path / "page.html", samples=4)
    assert "2 datasets 6 records 2.2 s length" in page.text
    assert re.search(r"32x64x9 4 2 1\.4 s 2 [0-9.]+ kB 3 x 2 x 4 x 3", page.text)
    assert re.search(r"64x32x9 2 1 0\.7 s 1 [0-9.]+ kB 3 x 4 x 2 x 3", page.text)
    assert "enlargement of the clips, 3 known" in page.text
    assert "video (digest) fake" in page.text and "fps 25" in page.text
    assert "4 samples a-" in page.text and len(pictures(page)) == 12
    assert "actions of the samples, 4 known" in page.text

    one = page_of(tmp_path / "shards" / "64x32x9", tmp_path / "one.html")
    assert "1 datasets 2 records" in one.text and "64x32x9 2 1" in one.text


def test_shards_of_puppets_and_of_pairs(tmp_path):
    """Datasets without an index, some folders below, as the rooms above write them; of what is unfinished nothing."""
    encoders, source = FakeEncoders(), SyntheticSource(Bucket(32, 64, 9), channels=3, text_dim=6)
    for place, texts in {"structured/part-000": True, "structured/part-001": True, "bare/part-000": False}.items():
        made_by = describe_records(encoders, 9, anchors=texts) | {"world": "World(side=64)"}
        made_by |= {"empty_prompt": source.empty_prompt().to_dict()}
        (tmp_path / "puppets" / place).mkdir(parents=True)
        write_dataset(tmp_path / "puppets" / place, (serialize_record(source[i]) for i in range(2)), 2, 2, made_by)
    shutil.copytree(tmp_path / "puppets" / "bare", tmp_path / "puppets" / "killed.partial")
    page = page_of(tmp_path / "puppets", tmp_path / "page.html")
    assert "3 datasets 6 records 2.2 s length" in page.text
    assert re.search(r"structured/part-001 2 0\.7 s 1 [0-9.]+ kB 3 x 2 x 4 x 3", page.text)
    assert "anchors False, True" in page.text and "world World(side=64)" in page.text
    assert "synthetic-0 from 0.00 s" in page.text and "enlargement" not in page.text
    assert "2 datasets 4 records" in page_of(tmp_path / "puppets" / "structured", tmp_path / "text.html").text


def test_clips_with_two_texts_show_both(clips, tmp_path):
    name = next((clips / "clips").rglob("b-*.mp4")).stem
    actions = shelved(clips / "clips", name, ".actions.json")
    seen = {"base": "A woman in red.", "phases": [{"start": 0, "end": 0.8, "action": "Claps."}]}
    try:
        actions.write_text(json.dumps(seen))
        shelved(clips / "clips", name, ".json").write_text(json.dumps({"base": "A caption."}))
        text = page_of(clips, tmp_path / "page.html").text
    finally:
        actions.unlink()
        shelved(clips / "clips", name, ".json").unlink()
    assert "A caption. A woman in red." in text and "[0-0.8s] Claps." in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.9, "59.9 s"), (60, "1.0 min"), (3599, "60.0 min"), (9e6, "2,500.0 h")]
)
def test_lengths_are_told_in_a_unit_that_says_something(seconds, text):
    assert format_duration(seconds) == text


def test_reasons_of_the_encoding_are_shown(clips, tmp_path):
    encode_clips(clips, tmp_path / "shards", FakeEncoders(), frames=21, buckets="32x64", progress=False)
    assert "Left out by encode too short 2" in page_of(tmp_path / "shards", tmp_path / "page.html").text


def test_other_folders_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InputError, match="neither a clip folder"):
            inspect_folder(folder, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def heights(svg):
    return [float(value) for value in re.findall(r'<rect[^>]* height="([0-9.]+)"', svg)]


def test_histograms_count_every_value():
    svg = draw_histogram([0, 0, 0, 0, 12, 23.99])
    assert heights(svg) == [60, 15, 15]
    assert re.findall(r">([0-9.]+)</text>", svg) == ["0", "23.99", "0"]
    assert heights(draw_histogram([5, 5])) == [60]  # no spread
    assert heights(draw_histogram([7])) == [60]


def test_timelines_keep_overlapping_windows_apart():
    svg = draw_timeline([(0.0, 2.0, "a"), (1.0, 3.0, "b"), (2.0, 4.0, "c <")], 4.0)
    windows = re.findall(r'<rect class="phase" x="([0-9.]+)" y="(\d+)" width="([0-9.]+)"', svg)
    assert windows == [("0.0", "0", "120.0"), ("60.0", "16", "120.0"), ("120.0", "0", "120.0")]
    assert "<title>c &lt;</title>" in svg and "polyline" not in svg
    curve = re.search(r'points="([^"]*)"', draw_timeline([], 2.0, [0.0, None, 2.0, 1.0])).group(1)
    assert curve == "30.0,24.0 150.0,2.0 210.0,13.0"
    assert "polyline" in draw_timeline([], 2.0, [0.0, 0.0]) and "polyline" not in draw_timeline([], 2.0, [None])
