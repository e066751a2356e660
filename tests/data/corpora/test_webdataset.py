"""WebDataset tars, whole and torn."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from actavatar_jax.errors import InputError
from data_pipelines.corpora import read_corpus
from tests.data.corpora.on_disk import read, touch


def tar(path: Path, *members: tuple[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            content = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


PROMPT = {"base": "A man.", "phases": [{"start": 0, "end": 1, "action": "Waves."}]}


def test_webdataset_samples_are_unpacked_beside_the_table(tmp_path):
    src = tmp_path / "wds"
    tar(src / "0.tar", ("x/a.mp4", "AAAA"), ("x/a.json", json.dumps({"caption": "A man."})), ("b.txt", "alone"))
    tar(src / "1.tar", ("x/a.mp4", "BB"), ("x/a.json", json.dumps(PROMPT)), ("c.mp4", "C"), ("c.txt", b"\xe9"))
    tar(src / "2.tar", ("d.mp4", "D1"), ("e.mp4", "E"), ("d.mp4", "D22"), ("f.mp4", "F"), ("f.json", "{"))
    clips, left_out = read("webdataset", src, tmp_path)
    assert left_out == {
        "skipped: caption not UTF-8": 1,
        "skipped: damaged annotation": 1,
        "skipped: duplicate id": 1,
        "skipped: no clip": 1,
    }
    by_key = {clip.facts["webdataset.key"]: clip for clip in clips.values()}
    assert sorted(by_key) == ["0.tar/x/a", "1.tar/x/a", "2.tar/d", "2.tar/e"]
    contents = {key: (tmp_path / "tables" / clip.source).read_bytes() for key, clip in by_key.items()}
    assert contents == {"0.tar/x/a": b"AAAA", "1.tar/x/a": b"BB", "2.tar/d": b"D1", "2.tar/e": b"E"}
    assert [by_key[f"{n}.tar/x/a"].caption for n in (0, 1)] == ["A man.", ""]
    prompt = (tmp_path / "tables" / by_key["1.tar/x/a"].source).with_suffix(".json")
    assert json.loads(prompt.read_text()) == PROMPT
    assert not list(tmp_path.rglob("*.partial"))


def test_of_half_a_tar_the_whole_samples_are_used(tmp_path):
    video = bytes(range(256)) * 40
    whole = tar(tmp_path / "whole.tar", *((f"{k}{suffix}", video) for k in "abc" for suffix in (".mp4", ".wav")))
    content = whole.read_bytes()
    sizes = {}
    for end in (*range(700, 6 * 10752, 3777), 2 * 10752, 3 * 10752 + 100, 6 * 10752):  # in members, headers, between
        part = tmp_path / str(end) / "part.tar"
        touch(part)
        part.write_bytes(content[:end])
        try:
            clips, left_out = read("webdataset", part, tmp_path / str(end))
        except InputError:
            clips, left_out = {}, None
        assert all((tmp_path / str(end) / "tables" / c.source).read_bytes() == video for c in clips.values())
        assert left_out in (None, {"skipped: torn tar": 1})
        sizes[end] = len(clips)
    assert list(sizes.values()).count(0) > 3
    assert all(clips == max(0, (end - 1) // (2 * 10752)) for end, clips in sizes.items())


def test_half_a_compressed_tar(tmp_path):
    whole = tar(tmp_path / "whole.tar", ("a.mp4", "A" * 9000), ("b.mp4", bytes(range(256)) * 900))
    packed = tmp_path / "part.tar.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes(), 0)[:60_000])
    clips, left_out = read("webdataset", packed, tmp_path)
    assert [clip.facts["webdataset.key"] for clip in clips.values()] == ["part.tar.gz/a"]
    assert left_out == {"skipped: torn tar": 1}


def test_webdataset_of_another_layout_is_refused(tmp_path):
    src = tar(tmp_path / "0.tar", ("a.mp4", "A"), ("a.json", json.dumps({"title": "A man."})))
    with pytest.raises(
        InputError, match=r"0\.tar/a\.json: no text under 'base' or 'caption' or 'text'; there is title"
    ):
        read_corpus("webdataset", src, tmp_path / "t.parquet")
